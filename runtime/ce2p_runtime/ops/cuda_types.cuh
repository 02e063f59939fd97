// What every kernel here shares: scalar types, loads and stores in float or half, the tile of the frame kernels.
//
// The same text compiles three ways: with nvcc, with NVRTC, and as plain C++ (tests/cuda_on_cpu), where a CUDA thread
// is a fiber and the tests run the very lines that the GPU will run.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#include <cuda_fp16.h>
#else
#include "cuda_on_cpu.h"
#endif

#ifndef CE2P_HALF
#define CE2P_HALF 0
#endif

namespace ce2p {

using Byte = unsigned char;
#if CE2P_HALF
using Scalar = __half;
#else
using Scalar = float;
#endif

constexpr int kThreads = 256;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }

template <typename T> __device__ inline T from_float(float value);
template <> __device__ inline float from_float<float>(float value) { return value; }
template <> __device__ inline __half from_float<__half>(float value) { return __float2half_rn(value); }

// Reads through the read-only cache.
template <typename T> __device__ inline float load(const T* address) { return to_float(__ldg(address)); }

__device__ inline int smaller(int a, int b) { return a < b ? a : b; }
__device__ inline int larger(int a, int b) { return a > b ? a : b; }

// The tile of the kernels that write pictures: 16 rows of 128 pixels for 256 threads. A thread makes four pixels of a
// row, then four more eight rows below. Where rows allow it the four are neighbours and leave in one wide store;
// otherwise they are 32 apart, so that the 32 threads of a warp still write one run of memory.
constexpr int kTileRows = 16;
constexpr int kTileCols = 128;
constexpr int kQuad = 4;

struct TileThread {
    int first;  // column of its first pixel within the tile
    int step;   // from one of its pixels to the next
    int row;    // first row within the tile; the other is row + 8

    __device__ TileThread(int thread, bool neighbours)
        : first(neighbours ? thread % 32 * kQuad : thread % 32), step(neighbours ? 1 : 32), row(thread / 32) {}
};

}  // namespace ce2p
