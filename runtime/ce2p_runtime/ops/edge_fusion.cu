// edge_fusion: the network's last stage, from three branches to class logits in one pass.
//
//     fused  = leaky(a + up(b) + up(c))                     leaky(v) = v if v >= 0 else slope * v
//     logits = weight * fused + bias
//
// a [N, K, h4, w4], b [N, K, h8, w8], c [N, K, h16, w16], weight [C, K], bias [C], logits [N, C, h4, w4]; all float, or
// all half. `up` is the bilinear resize to h4 x w4. Definition: edge_fusion.py.
// Compiled per network: CE2P_CLASSES = C, CE2P_SLOPE, CE2P_ALIGN_CORNERS, CE2P_HALF.
//
// Ideal bytes: N * (K (h4 w4 + h8 w8 + h16 w16) + C h4 w4) * 4 (half: 2). Arithmetic: N h4 w4 K (2 C + about 20).
//
// A block makes 8 rows of 32 pixels. It goes through the channels in chunks: first its threads put `fused` of a chunk
// into shared memory, then all of them multiply it by the chunk's weights.
//   - Staging: a warp takes one channel, a thread one column of 8 pixels, so `a` is read in runs of 32 values, and rows
//     of b and c are interpolated across once and kept while the column passes them. The `a` of the next chunk is
//     asked for before the products of the current one, so that memory works while the units compute.
//   - float: products in plain FMAs. A thread holds 4 pixels x up to 16 classes; what is left of the 256 threads
//     divides the chunk's channels, and the partial sums are added in a fixed order at the end.
//   - half: products on the matrix units (16x16x16, float sums). `fused` is computed in float and rounded once to half.
// The result does not depend on the batch or on timing: every sum has one fixed order.
#include "bilinear.cuh"

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#include <mma.h>
#endif

#ifndef CE2P_CLASSES
#define CE2P_CLASSES 20
#endif
#ifndef CE2P_ALIGN_CORNERS
#define CE2P_ALIGN_CORNERS 1
#endif
#ifndef CE2P_SLOPE
#define CE2P_SLOPE 0.01f
#endif

namespace ce2p {

constexpr int kRows = 8;
constexpr int kCols = 32;
constexpr int kPixels = kRows * kCols;
constexpr int kWarps = kThreads / 32;
static_assert(kPixels == kThreads && kWarps == kRows, "one warp per tile row, one thread per pixel on the way out");

struct Sizes {
    int channels, h4, w4, h8, w8, h16, w16;
};

// One upsampled branch as seen by one thread: its column's tap, the rows' taps, and two rows interpolated across.
template <typename T> class BranchColumn {
public:
    __device__ BranchColumn(int height, int width, Tap col)
        : height_(height), width_(width), left_(col.low), right_(next_sample(col.low, width)), weight_(col.weight) {}

    __device__ void start(const T* plane) {
        plane_ = plane;
        at_ = -2;
    }

    // The branch at a row; rows must come in ascending order, so that each is read once.
    __device__ float at(Tap row) {
        if (row.low != at_) {
            upper_ = row.low == at_ + 1 ? lower_ : across(row.low);
            lower_ = across(next_sample(row.low, height_));
            at_ = row.low;
        }
        return blend(upper_, lower_, row.weight);
    }

private:
    __device__ float across(int row) const {
        const T* values = plane_ + row * width_;
        return blend(load(values + left_), load(values + right_), weight_);
    }

    int height_, width_, left_, right_;
    float weight_;
    const T* plane_ = nullptr;
    int at_ = -2;
    float upper_ = 0.0f, lower_ = 0.0f;
};

// Products in float: which part of the tile, the classes and the channels is a thread's, and its sums.
template <int kClasses> struct FloatProducts {
    static constexpr int kChunk = 16;                                           // channels per chunk
    static constexpr int kGroups = kClasses <= 16 ? 1 : kClasses <= 32 ? 2 : 4;  // of classes
    static constexpr int kSplit = 4 / kGroups;                                  // threads that share a chunk's channels
    static constexpr int kMine = (kClasses + kGroups - 1) / kGroups;            // classes per thread
    static constexpr int kPadded = (kMine + 3) / 4 * 4;
    static_assert(kMine <= 16, "at most 64 classes");

    struct Shared {
        float tile[kChunk][kPixels];
        alignas(16) float weights[kChunk][kGroups * kPadded];
    };
    union Storage {
        Shared chunk;
        float sums[kMine][kPixels];
    };

    float sums[kMine][4] = {};

    // Where class `label` of chunk channel k stands: groups are padded to whole vectors.
    __device__ static float* weight_slot(Shared& shared, int k, int label) {
        return &shared.weights[k][label / kMine * kPadded + label % kMine];
    }
    __device__ static void put(Shared& shared, int k, int pixel, float fused) { shared.tile[k][pixel] = fused; }

    __device__ void accumulate(const Shared& shared) {
        const int quad = threadIdx.x % 64, part = threadIdx.x / 64, group = part % kGroups;
#pragma unroll 1
        for (int k = part / kGroups; k < kChunk; k += kSplit) {
            const float4 fused = *reinterpret_cast<const float4*>(&shared.tile[k][quad * 4]);
            float weights[kPadded];
#pragma unroll
            for (int i = 0; i < kPadded; i += 4) {
                *reinterpret_cast<float4*>(weights + i) =
                    *reinterpret_cast<const float4*>(&shared.weights[k][group * kPadded + i]);
            }
#pragma unroll
            for (int i = 0; i < kMine; ++i) {
                sums[i][0] = fmaf(weights[i], fused.x, sums[i][0]);
                sums[i][1] = fmaf(weights[i], fused.y, sums[i][1]);
                sums[i][2] = fmaf(weights[i], fused.z, sums[i][2]);
                sums[i][3] = fmaf(weights[i], fused.w, sums[i][3]);
            }
        }
    }

    // Calls write(class, pixel, sum), a thread's pixel being its number; one group of classes after the other.
    template <typename Write> __device__ void finish(Storage& storage, Write write) {
        const int quad = threadIdx.x % 64, part = threadIdx.x / 64;
#pragma unroll 1
        for (int group = 0; group < kGroups; ++group) {
#pragma unroll 1
            for (int split = 0; split < kSplit; ++split) {
                if (part % kGroups == group && part / kGroups == split) {
#pragma unroll
                    for (int i = 0; i < kMine; ++i) {
                        float4& slot = *reinterpret_cast<float4*>(&storage.sums[i][quad * 4]);
                        const float4 before = split ? slot : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                        slot = make_float4(
                            before.x + sums[i][0], before.y + sums[i][1], before.z + sums[i][2], before.w + sums[i][3]);
                    }
                }
                __syncthreads();
            }
            for (int i = 0; i < kMine && group * kMine + i < kClasses; ++i) {
                write(group * kMine + i, threadIdx.x, storage.sums[i][threadIdx.x]);
            }
            __syncthreads();
        }
    }
};

// Products in half with float sums on the matrix units: a warp holds one row of the tile, 32 pixels x all classes.
template <int kClasses> struct HalfProducts {
    static constexpr int kChunk = 16;
    static constexpr int kBlocks = (kClasses + 15) / 16;  // of 16 classes
    static constexpr int kTileStride = kPixels + 8;       // 8 more: rows start in different banks
    static constexpr int kWeightStride = kChunk + 8;

    struct Shared {
        alignas(32) __half tile[kChunk][kTileStride];
        alignas(32) __half weights[kBlocks * 16][kWeightStride];
    };
    union Storage {
        Shared chunk;
        alignas(32) float sums[16][kPixels];
        __device__ Storage() {}
    };

    using Sum = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;
    Sum sums[kBlocks][2];

    __device__ HalfProducts() {
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
            for (int side = 0; side < 2; ++side) nvcuda::wmma::fill_fragment(sums[block][side], 0.0f);
        }
    }

    __device__ static __half* weight_slot(Shared& shared, int k, int label) { return &shared.weights[label][k]; }
    __device__ static void put(Shared& shared, int k, int pixel, float fused) {
        shared.tile[k][pixel] = from_float<__half>(fused);
    }

    __device__ void accumulate(const Shared& shared) {
        using namespace nvcuda::wmma;
        const int row = threadIdx.x / 32;
#pragma unroll
        for (int k = 0; k < kChunk; k += 16) {
            fragment<matrix_b, 16, 16, 16, __half, row_major> fused[2];
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                load_matrix_sync(fused[side], &shared.tile[k][row * kCols + side * 16], kTileStride);
            }
#pragma unroll
            for (int block = 0; block < kBlocks; ++block) {
                fragment<matrix_a, 16, 16, 16, __half, row_major> weights;
                load_matrix_sync(weights, &shared.weights[block * 16][k], kWeightStride);
                mma_sync(sums[block][0], weights, fused[0], sums[block][0]);
                mma_sync(sums[block][1], weights, fused[1], sums[block][1]);
            }
        }
    }

    template <typename Write> __device__ void finish(Storage& storage, Write write) {
        const int row = threadIdx.x / 32;
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
#pragma unroll
            for (int side = 0; side < 2; ++side) {
                nvcuda::wmma::store_matrix_sync(
                    &storage.sums[0][row * kCols + side * 16], sums[block][side], kPixels, nvcuda::wmma::mem_row_major);
            }
            __syncthreads();
            for (int i = 0; i < 16 && block * 16 + i < kClasses; ++i) {
                write(block * 16 + i, threadIdx.x, storage.sums[i][threadIdx.x]);
            }
            __syncthreads();
        }
    }
};

template <typename T, int kClasses> struct ProductsFor;
template <int kClasses> struct ProductsFor<float, kClasses> {
    using type = FloatProducts<kClasses>;
};
template <int kClasses> struct ProductsFor<__half, kClasses> {
    using type = HalfProducts<kClasses>;
};

template <typename T, int kClasses, bool kAlignCorners>
__device__ inline void edge_fusion(
    const T* a, const T* b, const T* c, const T* weight, const T* bias, const Sizes& sizes, float slope, T* logits) {
    using Products = typename ProductsFor<T, kClasses>::type;
    constexpr int kChannelsPerWarp = Products::kChunk / kWarps;
    __shared__ typename Products::Storage storage;
    __shared__ Tap rows8[kRows], rows16[kRows];

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int top = blockIdx.y * kRows;
    // Threads past the right or lower border repeat the last pixel and write nothing.
    const int x = smaller(blockIdx.x * kCols + lane, sizes.w4 - 1);
    const int plane4 = sizes.h4 * sizes.w4, plane8 = sizes.h8 * sizes.w8, plane16 = sizes.h16 * sizes.w16;
    const size_t item = blockIdx.z;
    a += item * sizes.channels * plane4 + x;
    b += item * sizes.channels * plane8;
    c += item * sizes.channels * plane16;

    if (threadIdx.x < kRows) {
        const int y = smaller(top + threadIdx.x, sizes.h4 - 1);
        rows8[threadIdx.x] = resize_tap(y, sizes.h8, resize_scale(sizes.h8, sizes.h4, kAlignCorners), kAlignCorners);
        rows16[threadIdx.x] =
            resize_tap(y, sizes.h16, resize_scale(sizes.h16, sizes.h4, kAlignCorners), kAlignCorners);
    }
    BranchColumn<T> column8(
        sizes.h8, sizes.w8, resize_tap(x, sizes.w8, resize_scale(sizes.w8, sizes.w4, kAlignCorners), kAlignCorners));
    BranchColumn<T> column16(
        sizes.h16, sizes.w16,
        resize_tap(x, sizes.w16, resize_scale(sizes.w16, sizes.w4, kAlignCorners), kAlignCorners));

    // The a-values of this thread in the chunk at `first`; channels past the last are zero, as are their weights.
    float ahead[kChannelsPerWarp][kRows];
    const auto look_ahead = [&](int first) {
#pragma unroll
        for (int i = 0; i < kChannelsPerWarp; ++i) {
            const int channel = first + i * kWarps + warp;
            const T* column = a + channel * plane4;
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                const int y = smaller(top + row, sizes.h4 - 1);
                ahead[i][row] = channel < sizes.channels ? load(column + y * sizes.w4) : 0.0f;
            }
        }
    };

    Products products;
    look_ahead(0);
    __syncthreads();
    for (int first = 0; first < sizes.channels; first += Products::kChunk) {
#pragma unroll
        for (int i = 0; i < kChannelsPerWarp; ++i) {
            const int k = i * kWarps + warp, channel = smaller(first + k, sizes.channels - 1);
            column8.start(b + channel * plane8);
            column16.start(c + channel * plane16);
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                const float sum =
                    __fadd_rn(__fadd_rn(ahead[i][row], column8.at(rows8[row])), column16.at(rows16[row]));
                const float fused = sum >= 0.0f ? sum : __fmul_rn(sum, slope);
                Products::put(storage.chunk, k, row * kCols + lane, first + k < sizes.channels ? fused : 0.0f);
            }
        }
        for (int i = threadIdx.x; i < kClasses * Products::kChunk; i += kThreads) {
            const int label = i / Products::kChunk, k = i % Products::kChunk;
            *Products::weight_slot(storage.chunk, k, label) =
                first + k < sizes.channels ? weight[label * sizes.channels + first + k] : from_float<T>(0.0f);
        }
        __syncthreads();
        look_ahead(first + Products::kChunk);
        products.accumulate(storage.chunk);
        __syncthreads();
    }

    const int out_x = blockIdx.x * kCols + lane, out_y = top + warp;
    T* target = logits + item * kClasses * plane4 + static_cast<size_t>(out_y) * sizes.w4 + out_x;
    products.finish(storage, [&](int label, int, float sum) {
        if (out_x < sizes.w4 && out_y < sizes.h4) target[label * plane4] = from_float<T>(sum + load(bias + label));
    });
}

}  // namespace ce2p

// Two blocks per multiprocessor hide each other's waits; many classes need the registers of both.
extern "C" __global__ void __launch_bounds__(256, CE2P_CLASSES > 20 ? 1 : 2) ce2p_edge_fusion(
    const ce2p::Scalar* a, const ce2p::Scalar* b, const ce2p::Scalar* c, const ce2p::Scalar* weight,
    const ce2p::Scalar* bias, int channels, int h4, int w4, int h8, int w8, int h16, int w16, ce2p::Scalar* logits) {
    ce2p::edge_fusion<ce2p::Scalar, CE2P_CLASSES, CE2P_ALIGN_CORNERS != 0>(
        a, b, c, weight, bias, {channels, h4, w4, h8, w8, h16, w16}, CE2P_SLOPE, logits);
}
