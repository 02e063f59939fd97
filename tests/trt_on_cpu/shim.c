/* TensorRT's three library names, answered by TensorRT for RTX: for tests on machines without a GPU only.
 *
 * The Python bindings of TensorRT 11.4 import nine C symbols from libnvinfer, libnvinfer_plugin and libnvonnxparser.
 * TensorRT for RTX, the same compiler in another package, has the same entry points and builds plans without a GPU.
 * This file is compiled three times, once under each soname, and passes every call on. It mixes two releases of one
 * family through a private entry point, so the versions are pinned in requirements.txt and the product never uses it.
 *
 * -DCE2P_RTX="path of libtensorrt_rtx" -DCE2P_PARSER="path of libtensorrt_onnxparser_rtx"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void* symbol(const char* library, const char* name) {
    void* handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    void* found = handle ? dlsym(handle, name) : NULL;
    if (found == NULL) {
        fprintf(stderr, "trt_on_cpu: %s has no %s: %s\n", library, name, dlerror());
        abort();
    }
    return found;
}

/* The caller's version number is that of TensorRT; each library insists on its own. */
static int rtx_version(void) { return ((int (*)(void))symbol(CE2P_RTX, "getInferLibVersion"))(); }
static int parser_version(void) { return ((int (*)(void))symbol(CE2P_PARSER, "getNvOnnxParserVersion"))(); }

#define FORWARD_1(library, version, name)                                                          \
    void* name(void* a, int asked) {                                                               \
        (void)asked;                                                                               \
        return ((void* (*)(void*, int))symbol(library, #name))(a, version());                      \
    }
#define FORWARD_2(library, version, name)                                                          \
    void* name(void* a, void* b, int asked) {                                                      \
        (void)asked;                                                                               \
        return ((void* (*)(void*, void*, int))symbol(library, #name))(a, b, version());            \
    }

FORWARD_1(CE2P_RTX, rtx_version, createInferBuilder_INTERNAL)             /* (logger, version) */
FORWARD_1(CE2P_RTX, rtx_version, createInferRuntime_INTERNAL)             /* (logger, version) */
FORWARD_2(CE2P_RTX, rtx_version, createInferRefitter_INTERNAL)            /* (engine, logger, version) */
FORWARD_2(CE2P_PARSER, parser_version, createNvOnnxParser_INTERNAL)         /* (network, logger, version) */
FORWARD_2(CE2P_PARSER, parser_version, createNvOnnxParserRefitter_INTERNAL) /* (refitter, logger, version) */

int getNvOnnxParserVersion(void) { return parser_version(); }
void* getPluginRegistry(void) { return ((void* (*)(void))symbol(CE2P_RTX, "getPluginRegistry"))(); }
void* getBuilderPluginRegistry(int capability) {
    return ((void* (*)(int))symbol(CE2P_RTX, "getBuilderPluginRegistry"))(capability);
}

/* TensorRT's own plugins are not part of TensorRT for RTX, and none of our graphs uses them. */
_Bool initLibNvInferPlugins(void* logger, const char* name_space) {
    (void)logger, (void)name_space;
    return 1;
}
