// Enough of CUDA, as plain C++, to compile the kernels of ce2p_runtime/ops as they stand and run them on a CPU.
//
// Blocks run one after the other. Inside a block every CUDA thread is a fiber with a stack of its own: it runs until
// __syncthreads(), where the next fiber takes over. Between two barriers the fibers run in an order shuffled anew, so
// that a result which depends on the order, the sign of a missing barrier, changes with the seed. A barrier that only
// some threads reach is an error. Shared memory is filled with a pattern before each block, so nothing can rely on what
// the last block left. Warp-wide matrix operations are done by the warp's first thread, on behalf of all.
//
// Compile with -ffp-contract=off: on the GPU too, the _rn intrinsics keep each operation's own rounding.
#pragma once

#include <csetjmp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __restrict__ __restrict
#define __launch_bounds__(...)
// All shared arrays lie in one section of the library, so that they can be filled as a whole.
#define __shared__ __attribute__((section("cuda_shared"))) static

struct uint3_on_cpu {
    unsigned x, y, z;
};
using dim3 = uint3_on_cpu;
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

using __half = _Float16;
inline float __half2float(__half value) { return static_cast<float>(value); }
inline __half __float2half_rn(float value) { return static_cast<__half>(value); }

template <typename T> inline T __ldg(const T* address) { return *address; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
using std::floor;
using std::fma;

struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct alignas(4) uchar4 {
    unsigned char x, y, z, w;
};
inline uchar4 make_uchar4(unsigned char x, unsigned char y, unsigned char z, unsigned char w) { return {x, y, z, w}; }

namespace cuda_on_cpu {

constexpr std::size_t kStack = 128 * 1024;
constexpr unsigned kWarp = 32;

enum Outcome { kDone = 0, kDivergentBarrier = 1 };

struct Fiber {
    std::vector<char> stack = std::vector<char>(kStack);
    ucontext_t start;
    std::jmp_buf resume;
    bool begun = false, finished = false;
    unsigned index = 0;
};

// One block at a time; the state is global because CUDA's own names (threadIdx) are.
struct Block {
    std::vector<Fiber> fibers;
    Fiber* current = nullptr;
    std::jmp_buf scheduler;
    void (*body)(void*) = nullptr;
    void* argument = nullptr;
};
inline Block block;

inline void run_fiber() {
    block.body(block.argument);
    block.current->finished = true;
    std::longjmp(block.scheduler, 1);
}

// Let one fiber run until it reaches a barrier or its end.
inline void switch_to(Fiber& fiber) {
    block.current = &fiber;
    threadIdx = {fiber.index, 0, 0};
    if (setjmp(block.scheduler)) return;
    if (fiber.begun) std::longjmp(fiber.resume, 1);
    fiber.begun = true;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.data();
    fiber.start.uc_stack.ss_size = fiber.stack.size();
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, run_fiber, 0);
    setcontext(&fiber.start);
}

inline void barrier() {
    if (setjmp(block.current->resume)) return;
    std::longjmp(block.scheduler, 1);
}

inline Outcome run_block(std::mt19937& random) {
    std::vector<std::size_t> order(block.fibers.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (Fiber& fiber : block.fibers) fiber.begun = fiber.finished = false;
    for (;;) {
        for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
        std::size_t finished = 0;
        for (std::size_t index : order) {
            switch_to(block.fibers[index]);
            finished += block.fibers[index].finished;
        }
        if (finished == order.size()) return kDone;
        if (finished) return kDivergentBarrier;
    }
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::barrier(); }
// Nothing here: our kernels hand nothing from thread to thread by it, only across __syncthreads.
inline void __syncwarp() {}

// Bounds of the shared arrays, from the linker.
extern "C" char __start_cuda_shared __attribute__((weak)), __stop_cuda_shared __attribute__((weak));

namespace cuda_on_cpu {

// Run `kernel` over a grid; `values` points to each argument in turn.
template <typename... Arguments>
int launch(void (*kernel)(Arguments...), const unsigned* grid, const unsigned* threads, void** values, unsigned seed) {
    struct Call {
        void (*kernel)(Arguments...);
        std::tuple<Arguments...> arguments;
    };
    const auto gather = [&]<std::size_t... I>(std::index_sequence<I...>) {
        return Call{kernel, std::tuple<Arguments...>(*static_cast<Arguments*>(values[I])...)};
    };
    Call call = gather(std::index_sequence_for<Arguments...>{});
    std::mt19937 random(seed);
    block.argument = &call;
    block.body = [](void* argument) {
        Call& mine = *static_cast<Call*>(argument);
        std::apply(mine.kernel, mine.arguments);
    };
    block.fibers.resize(threads[0]);
    for (unsigned i = 0; i < threads[0]; ++i) block.fibers[i].index = i;
    blockDim = {threads[0], 1, 1};
    gridDim = {grid[0], grid[1], grid[2]};
    for (unsigned z = 0; z < grid[2]; ++z) {
        for (unsigned y = 0; y < grid[1]; ++y) {
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                // 0xff: NaN as float and half, -1 as int.
                if (&__start_cuda_shared) {
                    std::memset(&__start_cuda_shared, 0xff, &__stop_cuda_shared - &__start_cuda_shared);
                }
                const Outcome outcome = run_block(random);
                if (outcome != kDone) return outcome;
            }
        }
    }
    return kDone;
}

}  // namespace cuda_on_cpu

// The warp matrix functions that edge_fusion uses, for 16x16x16 half with float sums. The first thread of a warp holds
// the whole matrix and does the work; the others hold nothing.
namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
enum layout_t { mem_row_major };

inline bool first_of_warp() { return threadIdx.x % cuda_on_cpu::kWarp == 0; }

template <typename Use, int M, int N, int K, typename T, typename Layout = void> struct fragment {
    static_assert(M == 16 && N == 16 && K == 16, "one shape is enough for our kernels");
    T values[16][16];
};

// The hardware's rule: 32-byte aligned rows of a multiple of 16 bytes.
inline void check_alignment(const void* address, std::size_t row_bytes) {
    if (reinterpret_cast<std::uintptr_t>(address) % 32 || row_bytes % 16) std::abort();
}

template <typename Use, typename T, typename Layout>
void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& matrix, const T* source, unsigned stride) {
    check_alignment(source, stride * sizeof(T));
    if (!first_of_warp()) return;
    for (int row = 0; row < 16; ++row) std::memcpy(matrix.values[row], source + row * stride, sizeof matrix.values[row]);
}

template <typename Fragment> void fill_fragment(Fragment& matrix, float value) {
    if (!first_of_warp()) return;
    for (auto& row : matrix.values) {
        for (auto& cell : row) cell = value;
    }
}

template <typename A, typename B, typename C> void mma_sync(C& out, const A& a, const B& b, const C& in) {
    if (!first_of_warp()) return;
    for (int row = 0; row < 16; ++row) {
        for (int col = 0; col < 16; ++col) {
            float sum = in.values[row][col];
            for (int k = 0; k < 16; ++k) {
                sum += static_cast<float>(a.values[row][k]) * static_cast<float>(b.values[k][col]);
            }
            out.values[row][col] = sum;
        }
    }
}

template <typename C> void store_matrix_sync(float* target, const C& matrix, unsigned stride, layout_t) {
    check_alignment(target, stride * sizeof(float));
    if (!first_of_warp()) return;
    for (int row = 0; row < 16; ++row) std::memcpy(target + row * stride, matrix.values[row], sizeof matrix.values[row]);
}

}  // namespace nvcuda::wmma
