// A stand-in for NVIDIA's libcuda.so.1, for programs that use the driver through cuda-bindings.
//
// Device memory is host memory, streams run at once, kernels run in the emulation (cuda_on_cpu.h). So the real bindings,
// with their own checks of names and arguments, are exercised without a GPU. Misuse that a driver would answer with an
// error, such as freeing an address twice or launching on freed memory's module, is answered with one here too.
//
// The emulation lives in Python: `emulation_connect` gives two functions, one that compiles a PTX image (its first line
// says which source it was made from) and one that finds a kernel in it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Result;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_IMAGE = 200, NOT_FOUND = 500, LAUNCH_FAILED = 719,
       CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALID = 901 };
enum { MAX_ARGUMENTS = 32, MAX_ALLOCATIONS = 4096 };

typedef struct {
    int (*run)(const unsigned* grid, const unsigned* block, void** values, unsigned seed);
    int count;
    int sizes[MAX_ARGUMENTS];
} Kernel;

static int (*load_module)(const char* image);
static Kernel* (*find_kernel)(int module, const char* name);
void emulation_connect(int (*load)(const char*), Kernel* (*find)(int, const char*)) {
    load_module = load;
    find_kernel = find;
}

// Allocations, so that wild addresses and double frees are noticed.
static struct { char* address; size_t size; } allocations[MAX_ALLOCATIONS];

static int owned(uint64_t address, size_t size) {
    for (int i = 0; i < MAX_ALLOCATIONS; ++i) {
        const uint64_t start = (uint64_t)allocations[i].address;
        if (start && address >= start && address + size <= start + allocations[i].size) return 1;
    }
    return 0;
}

// What a stream was asked to do while it was being captured.
typedef struct Step {
    Kernel* kernel;
    unsigned grid[3], block[3];
    uint64_t values[MAX_ARGUMENTS];
    uint64_t target, source;
    size_t size;
    struct Step* next;
} Step;
static Step *captured, **captured_end;
static int capturing;
static unsigned seed;

static Result perform(const Step* step) {
    if (!step->kernel) {
        memcpy((void*)step->target, (void*)step->source, step->size);
        return SUCCESS;
    }
    void* addresses[MAX_ARGUMENTS];
    for (int i = 0; i < step->kernel->count; ++i) addresses[i] = (void*)&step->values[i];
    return step->kernel->run(step->grid, step->block, addresses, ++seed) ? LAUNCH_FAILED : SUCCESS;
}

static Result take(const Step* step) {
    if (!capturing) return perform(step);
    Step* kept = malloc(sizeof *kept);
    *kept = *step;
    kept->next = NULL;
    *captured_end = kept;
    captured_end = &kept->next;
    return SUCCESS;
}

Result cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
Result cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }
Result cuDeviceGet(int* device, int index) { return *device = 0, index ? INVALID_VALUE : SUCCESS; }
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
    // CUDA's numbers: clock in kHz, multiprocessors, compute capability 9.0.
    *value = attribute == 13 ? 1000000 : attribute == 16 ? 1 : attribute == 75 ? 9 : 0;
    return device || (!*value && attribute != 76) ? INVALID_VALUE : SUCCESS;
}
Result cuDeviceGetName(char* name, int length, int device) {
    snprintf(name, length, "stand-in for a GPU");
    return device ? INVALID_VALUE : SUCCESS;
}
Result cuDeviceTotalMem_v2(size_t* size, int device) { return *size = 1 << 30, device ? INVALID_VALUE : SUCCESS; }
Result cuDevicePrimaryCtxRetain(void** context, int device) { return *context = &seed, device ? INVALID_VALUE : SUCCESS; }
Result cuCtxSetCurrent(void* context) { return context == &seed ? SUCCESS : INVALID_VALUE; }
Result cuCtxSynchronize(void) { return capturing ? CAPTURE_UNSUPPORTED : SUCCESS; }
Result cuStreamCreate(void** stream, unsigned flags) { return *stream = malloc(1), flags > 1 ? INVALID_VALUE : SUCCESS; }
Result cuStreamSynchronize(void* stream) { return !stream ? INVALID_VALUE : capturing ? CAPTURE_UNSUPPORTED : SUCCESS; }

Result cuMemAlloc_v2(uint64_t* address, size_t size) {
    if (!size) return INVALID_VALUE;
    if (capturing) return CAPTURE_UNSUPPORTED;
    for (int i = 0; i < MAX_ALLOCATIONS; ++i) {
        if (allocations[i].address) continue;
        allocations[i].address = aligned_alloc(256, (size + 255) / 256 * 256);
        allocations[i].size = size;
        return *address = (uint64_t)allocations[i].address, SUCCESS;
    }
    return OUT_OF_MEMORY;
}
Result cuMemFree_v2(uint64_t address) {
    for (int i = 0; i < MAX_ALLOCATIONS; ++i) {
        if ((uint64_t)allocations[i].address != address) continue;
        free(allocations[i].address);
        allocations[i].address = NULL;
        return SUCCESS;
    }
    return INVALID_VALUE;
}
Result cuMemsetD8_v2(uint64_t address, unsigned char value, size_t size) {
    return owned(address, size) ? memset((void*)address, value, size), SUCCESS : INVALID_VALUE;
}
Result cuMemcpyHtoD_v2(uint64_t target, const void* source, size_t size) {
    return owned(target, size) ? memcpy((void*)target, source, size), SUCCESS : INVALID_VALUE;
}
Result cuMemcpyDtoH_v2(void* target, uint64_t source, size_t size) {
    return owned(source, size) ? memcpy(target, (void*)source, size), SUCCESS : INVALID_VALUE;
}
Result cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t size, void* stream) {
    if (!stream || !owned(target, size) || !owned(source, size)) return INVALID_VALUE;
    const Step step = {.target = target, .source = source, .size = size};
    return take(&step);
}

Result cuModuleLoadData(void** module, const void* image) {
    const int loaded = capturing ? -1 : load_module(image);
    *module = (void*)(intptr_t)(loaded + 1);
    return loaded < 0 ? INVALID_IMAGE : SUCCESS;
}
Result cuModuleGetFunction(void** function, void* module, const char* name) {
    *function = find_kernel((int)(intptr_t)module - 1, name);
    return *function ? SUCCESS : NOT_FOUND;
}
Result cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void* stream, void** values, void** extra) {
    if (!function || !stream || shared || extra || !gx || !gy || !gz || gy > 65535 || gz > 65535) return INVALID_VALUE;
    Step step = {.kernel = function, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
    for (int i = 0; i < step.kernel->count; ++i) memcpy(&step.values[i], values[i], step.kernel->sizes[i]);
    return take(&step);
}

Result cuStreamBeginCapture_v2(void* stream, int mode) {
    if (!stream || capturing || mode < 0 || mode > 2) return INVALID_VALUE;
    captured = NULL;
    captured_end = &captured;
    return capturing = 1, SUCCESS;
}
Result cuStreamEndCapture(void* stream, void** graph) {
    if (!stream || !capturing) return CAPTURE_INVALID;
    capturing = 0;
    return *graph = captured, SUCCESS;
}
Result cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long flags) {
    return *executable = graph, graph && !flags ? SUCCESS : INVALID_VALUE;
}
Result cuGraphLaunch(void* executable, void* stream) {
    if (!stream) return INVALID_VALUE;
    for (const Step* step = executable; step; step = step->next) {
        const Result result = perform(step);
        if (result) return result;
    }
    return SUCCESS;
}

Result cuEventCreate(void** event, unsigned flags) {
    return *event = calloc(1, sizeof(struct timespec)), flags > 7 ? INVALID_VALUE : SUCCESS;
}
Result cuEventRecord(void* event, void* stream) { return stream ? clock_gettime(CLOCK_MONOTONIC, event) : INVALID_VALUE; }
Result cuEventSynchronize(void* event) { return event ? SUCCESS : INVALID_VALUE; }
Result cuEventElapsedTime(float* milliseconds, const struct timespec* start, const struct timespec* stop) {
    *milliseconds = (stop->tv_sec - start->tv_sec) * 1e3f + (stop->tv_nsec - start->tv_nsec) * 1e-6f;
    return SUCCESS;
}
Result cuEventElapsedTime_v2(float* milliseconds, const struct timespec* start, const struct timespec* stop) {
    return cuEventElapsedTime(milliseconds, start, stop);
}

// How cuda-bindings finds everything above: by name, with a version suffix where there are several.
Result cuGetProcAddress_v2(const char* symbol, void** function, int version, uint64_t flags, int* status) {
    (void)version, (void)flags;
    static void* self;
    if (!self) {
        Dl_info info;
        dladdr((void*)cuInit, &info);
        self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    const char* suffixes[] = {"_v2", ""};
    char name[128];
    *function = NULL;
    for (int i = 0; i < 2 && !*function; ++i) {
        snprintf(name, sizeof name, "%s%s", symbol, suffixes[i]);
        *function = dlsym(self, name);
    }
    if (!*function && !strcmp(symbol, "cuGraphInstantiate")) *function = (void*)cuGraphInstantiateWithFlags;
    if (status) *status = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
