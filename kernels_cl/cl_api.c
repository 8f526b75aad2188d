#include "kernels_cl/cl_api.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

static const char *const library_names[] = {"libOpenCL.so.1", "libOpenCL.so",
                                            "/system/vendor/lib64/libOpenCL.so"};

static const struct {
    const char *name;
    size_t offset;
} functions[] = {
#define CL_API_ROW(name) {#name, offsetof(struct cl_api, name)},
    CL_API_FUNCTIONS(CL_API_ROW)
#undef CL_API_ROW
};

bool cl_api_open(struct cl_api *api, struct err *err)
{
    void *library = NULL;
    for (size_t i = 0; !library && i < sizeof library_names / sizeof *library_names; i++)
        library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(err, ERR_RUNTIME,
                       "OpenCL: there is no libOpenCL.so.1 on this machine; install an OpenCL loader and a "
                       "driver for your device (Debian: ocl-icd-libopencl1, pocl-opencl-icd), or use "
                       "--backend cpu");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function)
            return err_set(err, ERR_RUNTIME,
                           "OpenCL: libOpenCL has no %s, expected OpenCL 1.2 or later; install another "
                           "loader, or use --backend cpu",
                           functions[i].name);
        memcpy((char *)api + functions[i].offset, &function, sizeof function);
    }
    return true;
}

static const struct {
    cl_int code;
    const char *name;
} code_names[] = {
#define CL_CODE(name) {name, #name},
    CL_CODE(CL_DEVICE_NOT_FOUND) CL_CODE(CL_DEVICE_NOT_AVAILABLE) CL_CODE(CL_COMPILER_NOT_AVAILABLE)
        CL_CODE(CL_MEM_OBJECT_ALLOCATION_FAILURE) CL_CODE(CL_OUT_OF_RESOURCES) CL_CODE(CL_OUT_OF_HOST_MEMORY)
            CL_CODE(CL_BUILD_PROGRAM_FAILURE) CL_CODE(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
                CL_CODE(CL_INVALID_VALUE) CL_CODE(CL_INVALID_PLATFORM) CL_CODE(CL_INVALID_DEVICE)
                    CL_CODE(CL_INVALID_CONTEXT) CL_CODE(CL_INVALID_COMMAND_QUEUE) CL_CODE(CL_INVALID_HOST_PTR)
                        CL_CODE(CL_INVALID_MEM_OBJECT) CL_CODE(CL_INVALID_BINARY)
                            CL_CODE(CL_INVALID_BUILD_OPTIONS) CL_CODE(CL_INVALID_PROGRAM)
                                CL_CODE(CL_INVALID_PROGRAM_EXECUTABLE) CL_CODE(CL_INVALID_KERNEL_NAME)
                                    CL_CODE(CL_INVALID_KERNEL) CL_CODE(CL_INVALID_ARG_INDEX)
                                        CL_CODE(CL_INVALID_ARG_VALUE) CL_CODE(CL_INVALID_ARG_SIZE)
                                            CL_CODE(CL_INVALID_KERNEL_ARGS) CL_CODE(CL_INVALID_WORK_DIMENSION)
                                                CL_CODE(CL_INVALID_WORK_GROUP_SIZE)
                                                    CL_CODE(CL_INVALID_WORK_ITEM_SIZE)
                                                        CL_CODE(CL_INVALID_OPERATION)
                                                            CL_CODE(CL_INVALID_BUFFER_SIZE)
#undef CL_CODE
                                                                {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
};

const char *cl_code_name(cl_int code)
{
    for (size_t i = 0; i < sizeof code_names / sizeof *code_names; i++)
        if (code_names[i].code == code)
            return code_names[i].name;
    return "unknown";
}
