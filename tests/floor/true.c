/* Does nothing: what starting a static program costs. */
int main(void) {
	return 0;
}
