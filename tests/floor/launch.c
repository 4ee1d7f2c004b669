/*
 * Executes a program and tells on stderr how long it took from the fork on, in nanoseconds, how much time of
 * a processor, in microseconds, and the most memory it had, in KiB. Small and static, because the kernel counts the memory of whoever forks as the
 * child's until the child executes: a bench that forked itself would measure itself.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
	struct timespec begin, end;
	struct rusage used;
	int status, nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (count < 2 || nowhere < 0)
		return 127;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	pid_t child = vfork();
	if (child == 0) {
		dup2(nowhere, 2);
		execv(arguments[1], arguments + 1);
		_exit(127);
	}
	if (child < 0 || wait4(child, &status, 0, &used) != child)
		return 127;
	clock_gettime(CLOCK_MONOTONIC, &end);
	long long took = (end.tv_sec - begin.tv_sec) * 1000000000LL + (end.tv_nsec - begin.tv_nsec);
	long long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000LL;
	cpu += used.ru_utime.tv_usec + used.ru_stime.tv_usec;
	fprintf(stderr, "%lld %lld %ld\n", took, cpu, used.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
