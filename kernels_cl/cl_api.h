/* cl_api.h: libOpenCL, opened when it is needed: a machine without it starts, and says so.
 *
 * Thread rule: cl_api_open from one thread at a time; the functions as OpenCL says. Ownership: the library
 * stays open until the process ends, because drivers leave threads behind that would run into unmapped code.
 * Source: the OpenCL 1.2 specification, host functions; CL/cl.h gives the types. */
#ifndef FERRUM_CL_API_H
#define FERRUM_CL_API_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <stdbool.h>

#include "engine/base/err.h"

#define CL_API_FUNCTIONS(X)                                                                                  \
    X(clGetPlatformIDs)                                                                                      \
    X(clGetPlatformInfo)                                                                                     \
    X(clGetDeviceIDs)                                                                                        \
    X(clGetDeviceInfo)                                                                                       \
    X(clCreateContext)                                                                                       \
    X(clReleaseContext)                                                                                      \
    X(clCreateCommandQueue)                                                                                  \
    X(clReleaseCommandQueue)                                                                                 \
    X(clCreateBuffer)                                                                                        \
    X(clReleaseMemObject)                                                                                    \
    X(clEnqueueReadBuffer)                                                                                   \
    X(clEnqueueWriteBuffer)                                                                                  \
    X(clCreateProgramWithSource)                                                                             \
    X(clCreateProgramWithBinary)                                                                             \
    X(clBuildProgram)                                                                                        \
    X(clGetProgramBuildInfo)                                                                                 \
    X(clGetProgramInfo)                                                                                      \
    X(clReleaseProgram)                                                                                      \
    X(clCreateKernel)                                                                                        \
    X(clReleaseKernel)                                                                                       \
    X(clSetKernelArg)                                                                                        \
    X(clEnqueueNDRangeKernel)                                                                                \
    X(clGetEventProfilingInfo)                                                                               \
    X(clWaitForEvents)                                                                                       \
    X(clReleaseEvent)                                                                                        \
    X(clFlush)                                                                                               \
    X(clFinish)

struct cl_api {
#define CL_API_MEMBER(name) __typeof__(&name) name;
    CL_API_FUNCTIONS(CL_API_MEMBER)
#undef CL_API_MEMBER
};

/* False and a sentence when there is no library, or one that lacks a function. */
bool cl_api_open(struct cl_api *api, struct err *err);

/* "CL_OUT_OF_RESOURCES"; "unknown" for a code that OpenCL 1.2 has not. */
const char *cl_code_name(cl_int code);

#endif
