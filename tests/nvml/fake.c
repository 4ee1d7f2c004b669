/* NVIDIA's management library as far as the device plugin calls it, over GPUs that are lines of text.
 *
 * $FAKE_NVML is a folder with these files, each absent where there is nothing to say:
 *   init     a number: what nvmlInit returns
 *   gpus     UUID|NAME|BUS ID|MINOR|MEMORY|MIG 0/1|RECOVERY ACTION, -1 where the driver knows of none|LOST 0, 1, or
 *            2 when it does not even say who it is
 *   parts    UUID OF THE GPU|UUID|NAME|MEMORY|GPU INSTANCE|COMPUTE INSTANCE
 *   pairs    UUID|UUID|LEVEL of their common ancestor
 *   nvlinks  UUID|BUS ID of the other end
 *   events   UUID|XID, each told once, in order
 *   hang     while it is there, counting GPUs takes for ever
 *   deaf     while it is there, waiting for events fails
 * Each time GPUs are counted the files are read again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TIMEOUT = 10, LOST = 15 };
enum { CRITICAL_XID = 8, MAX_DEVICES = 64, MAX_FIELDS = 8, RECOVERY_ACTION = 230, UNSIGNED_INT = 1 };

typedef struct device {
	char uuid[96], name[96], bus[32], parent[96];
	unsigned minor, mig, gpu_instance, compute_instance;
	unsigned long long memory;
	int recovery, lost, listed;
} *nvmlDevice_t;

typedef struct {
	char legacy[16];
	unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
	char bus_id[32];
} nvmlPciInfo_t;

/* A GPU keeps its place, so that a handle stays the same. */
static struct device gpus[MAX_DEVICES], parts[MAX_DEVICES];
static long told;

/* Splits the next line of FILE into fields; 0 at its end. */
static int row(FILE *file, char line[512], char *fields[MAX_FIELDS])
{
	if (!file || !fgets(line, 512, file))
		return 0;
	line[strcspn(line, "\n")] = 0;
	char *rest = line;
	for (int i = 0; i < MAX_FIELDS; i++) {
		char *field = rest ? strsep(&rest, "|") : NULL;
		fields[i] = field ? field : "";
	}
	return 1;
}

static FILE *open_file(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", getenv("FAKE_NVML") ? getenv("FAKE_NVML") : "/nonexistent", name);
	return fopen(path, "r");
}

static void close_file(FILE *file)
{
	if (file)
		fclose(file);
}

static nvmlDevice_t place(struct device *table, const char *uuid)
{
	for (int i = 0; i < MAX_DEVICES; i++)
		if (!table[i].uuid[0] || !strcmp(table[i].uuid, uuid))
			return &table[i];
	abort();
}

static void read_gpus(void)
{
	char line[512], *f[MAX_FIELDS];
	for (int i = 0; i < MAX_DEVICES; i++)
		gpus[i].listed = parts[i].listed = 0;
	FILE *file = open_file("gpus");
	for (int n = 1; row(file, line, f); n++) {
		nvmlDevice_t gpu = place(gpus, f[0]);
		snprintf(gpu->uuid, sizeof gpu->uuid, "%s", f[0]);
		snprintf(gpu->name, sizeof gpu->name, "%s", f[1]);
		snprintf(gpu->bus, sizeof gpu->bus, "%s", f[2]);
		gpu->minor = atoi(f[3]), gpu->memory = strtoull(f[4], NULL, 10), gpu->mig = atoi(f[5]);
		gpu->recovery = atoi(f[6]), gpu->lost = atoi(f[7]), gpu->listed = n;
	}
	close_file(file);
	file = open_file("parts");
	while (row(file, line, f)) {
		nvmlDevice_t part = place(parts, f[1]);
		snprintf(part->parent, sizeof part->parent, "%s", f[0]);
		snprintf(part->uuid, sizeof part->uuid, "%s", f[1]);
		snprintf(part->name, sizeof part->name, "%s", f[2]);
		part->memory = strtoull(f[3], NULL, 10), part->listed = 1, part->recovery = -1;
		part->gpu_instance = atoi(f[4]), part->compute_instance = atoi(f[5]);
	}
	close_file(file);
}

nvmlReturn_t nvmlInit_v2(void)
{
	char line[512], *f[MAX_FIELDS];
	FILE *file = open_file("init");
	int code = row(file, line, f) ? atoi(f[0]) : SUCCESS;
	close_file(file);
	return code;
}

nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length)
{
	snprintf(version, length, "570.86.15");
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
	for (FILE *file; (file = open_file("hang")); sleep(1))
		close_file(file);
	read_gpus();
	*count = 0;
	for (int i = 0; i < MAX_DEVICES; i++)
		*count += gpus[i].listed != 0;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
	for (int i = 0; i < MAX_DEVICES; i++)
		if (gpus[i].listed == (int)index + 1) {
			*device = &gpus[i];
			return SUCCESS;
		}
	return INVALID;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
	for (int i = 0; i < MAX_DEVICES; i++)
		if (gpus[i].listed && !strcmp(gpus[i].uuid, uuid)) {
			*device = &gpus[i];
			return SUCCESS;
		}
	return NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length)
{
	snprintf(uuid, length, "%s", device->uuid);
	return device->lost == 2 ? LOST : SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length)
{
	snprintf(name, length, "%s", device->name);
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *info)
{
	memset(info, 0, sizeof *info);
	info->pci_device_id = 0x233510de;
	snprintf(info->bus_id, sizeof info->bus_id, "%s", device->bus);
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor)
{
	*minor = device->minor;
	return SUCCESS;
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, struct memory *memory)
{
	memory->total = device->memory, memory->reserved = memory->free = memory->used = 0;
	return device->lost ? LOST : SUCCESS;
}

struct field { unsigned id, scope; long long timestamp, latency; int type; nvmlReturn_t code; union { unsigned u; double d; } value; };

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, struct field *fields)
{
	for (int i = 0; i < count; i++) {
		int known = fields[i].id == RECOVERY_ACTION && device->recovery >= 0;
		fields[i].code = known ? SUCCESS : UNSUPPORTED;
		fields[i].type = UNSIGNED_INT;
		fields[i].value.u = known ? device->recovery : 0;
	}
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending)
{
	*current = *pending = device->mig;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count)
{
	*count = device->mig ? 7 : 0;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *part)
{
	for (int i = 0; i < MAX_DEVICES; i++)
		if (parts[i].listed && !strcmp(parts[i].parent, device->uuid) && index-- == 0) {
			*part = &parts[i];
			return SUCCESS;
		}
	return NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned *id)
{
	*id = device->gpu_instance;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned *id)
{
	*id = device->compute_instance;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b, int *level)
{
	char line[512], *f[MAX_FIELDS];
	FILE *file = open_file("pairs");
	nvmlReturn_t code = UNSUPPORTED;
	while (code != SUCCESS && row(file, line, f))
		if ((!strcmp(f[0], a->uuid) && !strcmp(f[1], b->uuid)) || (!strcmp(f[0], b->uuid) && !strcmp(f[1], a->uuid)))
			*level = atoi(f[2]), code = SUCCESS;
	close_file(file);
	return code;
}

/* The other end of link NUMBER of DEVICE; 0 past the last one. */
static int link_end(nvmlDevice_t device, unsigned number, char bus[32])
{
	char line[512], *f[MAX_FIELDS];
	FILE *file = open_file("nvlinks");
	int found = 0;
	while (!found && row(file, line, f))
		if (!strcmp(f[0], device->uuid) && number-- == 0)
			snprintf(bus, 32, "%s", f[1]), found = 1;
	close_file(file);
	return found;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned number, unsigned *active)
{
	char bus[32];
	*active = link_end(device, number, bus);
	return *active ? SUCCESS : INVALID;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned number, nvmlPciInfo_t *info)
{
	memset(info, 0, sizeof *info);
	return link_end(device, number, info->bus_id) ? SUCCESS : INVALID;
}

nvmlReturn_t nvmlEventSetCreate(void **set)
{
	*set = &told;
	return SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(void *set) { return set ? SUCCESS : INVALID; }

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types)
{
	*types = device->listed ? CRITICAL_XID : 0;
	return SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, void *set)
{
	return device->listed && types && set ? SUCCESS : INVALID;
}

struct event { nvmlDevice_t device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };

nvmlReturn_t nvmlEventSetWait_v2(void *set, struct event *event, unsigned milliseconds)
{
	char line[512], *f[MAX_FIELDS];
	long *position = set;
	FILE *deaf = open_file("deaf");
	close_file(deaf);
	if (deaf)
		return LOST;
	for (unsigned waited = 0; waited < milliseconds; waited += 10, usleep(10000)) {
		FILE *file = open_file("events");
		int found = file && !fseek(file, *position, SEEK_SET) && row(file, line, f);
		if (found)
			*position = ftell(file);
		close_file(file);
		nvmlDevice_t device;
		if (found && nvmlDeviceGetHandleByUUID(f[0], &device) == SUCCESS) {
			*event = (struct event){device, CRITICAL_XID, strtoull(f[1], NULL, 10), 0, 0};
			return SUCCESS;
		}
	}
	return TIMEOUT;
}
