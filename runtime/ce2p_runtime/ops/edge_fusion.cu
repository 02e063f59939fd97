// edge_fusion: the network's last stage, from three branches to class logits in one pass.
//
//     fused  = leaky(a + up(b) + up(c))                     leaky(v) = v if v >= 0 else slope * v
//     logits = weight * fused + bias
//
// a [N, K, h4, w4], b [N, K, h8, w8], c [N, K, h16, w16], weight [C, K], bias [C], logits [N, C, h4, w4]; all float, or
// all half. `up` is the bilinear resize to h4 x w4. Definition: edge_fusion.py.
// Compiled per network: CE2P_CLASSES = C, CE2P_SLOPE, CE2P_ALIGN_CORNERS, CE2P_HALF, CE2P_STEP8 and CE2P_STEP16.
//
// Ideal bytes: N * (K (h4 w4 + h8 w8 + h16 w16) + C h4 w4) * 4 (half: 2). Arithmetic: N h4 w4 K (2 C + about 20).
//
// A block makes 8 rows of 32 pixels. It goes through the channels in chunks: first its threads put `fused` of a chunk
// into shared memory, then all of them multiply it by the chunk's weights.
//   - Staging: a warp takes one channel, a thread one column of 8 pixels, so `a` is read in runs of 32 values. The few
//     rows of b and c that the column lies between are interpolated across once, all of their loads in flight together;
//     a second block on the same multiprocessor computes meanwhile.
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
// Rows of `a` for each row of b and of c: 2 or 4, or 0 for any sizes.
#ifndef CE2P_STEP8
#define CE2P_STEP8 0
#endif
#ifndef CE2P_STEP16
#define CE2P_STEP16 0
#endif

namespace ce2p {

constexpr bool kAlignCorners = CE2P_ALIGN_CORNERS != 0;
constexpr int kRows = 8;
constexpr int kCols = 32;
constexpr int kPixels = kRows * kCols;
constexpr int kWarps = kThreads / 32;
static_assert(kPixels == kThreads && kWarps == kRows, "one warp per tile row, one thread per pixel on the way out");

struct Sizes {
    int channels, h4, w4, h8, w8, h16, w16;
};

// The value `offset` bytes into an item. Offsets have 32 bits, so that most address arithmetic has too; an item holds less
// than 4 GB.
template <typename T> __device__ inline float load_at(const T* item, unsigned offset) {
    return load(reinterpret_cast<const T*>(reinterpret_cast<const char*>(item) + offset));
}

// How the rows of one tile read the rows of a branch. Row r lies between `first + near(r)` and two rows further down,
// whatever the tile, as long as the branch has about one row for `kStep` rows of the tile: weights for these three
// rows, one of them zero, then replace any choice at run time (`fusion_step` in edge_fusion.py says when). `first` may be
// -1: above the first row the border repeats.
template <int kStep> struct RowTable {
    static constexpr int kSpan = (kRows - 2) / kStep + 3;
    static_assert(kSpan <= kRows, "eight threads fill the table");
    alignas(16) unsigned offsets[kRows];  // in bytes, of the rows from `first` on; outside the branch its border repeats
    alignas(16) float weights[kRows][4];

    __device__ static constexpr int near(int row) { return row ? (row - 1) / kStep : 0; }

    __device__ void fill(int row, int top, int height, int target, unsigned pitch) {
        const double scale = resize_scale(height, target, kAlignCorners);
        const int first = static_cast<int>(floor(resize_coordinate(top, scale, kAlignCorners)));
        const Tap tap = resize_tap(smaller(top + row, target - 1), height, scale, kAlignCorners);
        const int at = tap.low - first - near(row);
#pragma unroll
        for (int i = 0; i < 3; ++i) weights[row][i] = i == at ? 1.0f - tap.weight : i == at + 1 ? tap.weight : 0.0f;
        offsets[row] = smaller(larger(first + row, 0), height - 1) * pitch;
    }
};

// For a branch of any other size.
template <> struct RowTable<0> {
    Tap taps[kRows];

    __device__ void fill(int row, int top, int height, int target, unsigned) {
        taps[row] = resize_tap(
            smaller(top + row, target - 1), height, resize_scale(height, target, kAlignCorners), kAlignCorners);
    }
};

// One branch as seen by one thread: its column of the tile. Offsets are in bytes.
template <typename T> class BranchColumn {
public:
    __device__ BranchColumn(const T* item, int height, int width, int x, int target)
        : item_(item), last_(height - 1), pitch_(width * sizeof(T)) {
        const Tap tap = resize_tap(x, width, resize_scale(width, target, kAlignCorners), kAlignCorners);
        left_ = tap.low * sizeof(T);
        right_ = next_sample(tap.low, width) * sizeof(T);
        weight_ = tap.weight;
    }

    // Adds the upsampled branch to the sums of one channel.
    template <int kStep> __device__ void add(unsigned channel, const RowTable<kStep>& table, float (&sums)[kRows]) const {
        const unsigned plane = channel * (last_ + 1) * pitch_;
        float rows[RowTable<kStep>::kSpan];
#pragma unroll
        for (int i = 0; i < RowTable<kStep>::kSpan; ++i) {
            rows[i] = across(plane + table.offsets[i]);
        }
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            const float4 weights = *reinterpret_cast<const float4*>(table.weights[row]);
            const int near = RowTable<kStep>::near(row);
            sums[row] = fmaf(weights.x, rows[near], sums[row]);
            sums[row] = fmaf(weights.y, rows[near + 1], sums[row]);
            sums[row] = fmaf(weights.z, rows[near + 2], sums[row]);
        }
    }

    __device__ void add(unsigned channel, const RowTable<0>& table, float (&sums)[kRows]) const {
        const unsigned plane = channel * (last_ + 1) * pitch_;
#pragma unroll
        for (int row = 0; row < kRows; ++row) {
            if (row == kRows / 2) __syncwarp();  // eight rows' loads at once would not fit the registers
            const Tap tap = table.taps[row];
            const float upper = across(plane + tap.low * pitch_);
            const float lower = across(plane + smaller(tap.low + 1, last_) * pitch_);
            sums[row] += blend(upper, lower, tap.weight);
        }
    }

private:
    __device__ float across(unsigned start) const {
        return blend(load_at(item_, start + left_), load_at(item_, start + right_), weight_);
    }

    const T* item_;
    int last_;
    unsigned pitch_, left_, right_;
    float weight_;
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
#pragma unroll
            for (int start = 0; start < kPadded; start += 4) {
                const float4 four = *reinterpret_cast<const float4*>(&shared.weights[k][group * kPadded + start]);
                const float weights[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
                for (int i = 0; i < 4 && start + i < kMine; ++i) {
                    float(&mine)[4] = sums[start + i];
                    mine[0] = fmaf(weights[i], fused.x, mine[0]);
                    mine[1] = fmaf(weights[i], fused.y, mine[1]);
                    mine[2] = fmaf(weights[i], fused.z, mine[2]);
                    mine[3] = fmaf(weights[i], fused.w, mine[3]);
                }
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
#pragma unroll 2
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
#pragma unroll 2
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

template <typename T, int kClasses>
__device__ inline void edge_fusion(
    const T* a, const T* b, const T* c, const T* weight, const T* bias, const Sizes& sizes, float slope, T* logits) {
    using Products = typename ProductsFor<T, kClasses>::type;
    __shared__ typename Products::Storage storage;
    __shared__ RowTable<CE2P_STEP8> rows8;
    __shared__ RowTable<CE2P_STEP16> rows16;
    alignas(16) __shared__ unsigned rows4[kRows];  // of a, in bytes

    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int top = blockIdx.y * kRows;
    // Threads past the right or lower border repeat the last pixel and write nothing.
    const int x = smaller(blockIdx.x * kCols + lane, sizes.w4 - 1);
    const int plane4 = sizes.h4 * sizes.w4;
    const size_t first_channel = static_cast<size_t>(blockIdx.z) * sizes.channels;
    a += first_channel * plane4;

    if (threadIdx.x < kRows) {
        rows8.fill(threadIdx.x, top, sizes.h8, sizes.h4, sizes.w8 * sizeof(T));
        rows16.fill(threadIdx.x, top, sizes.h16, sizes.h4, sizes.w16 * sizeof(T));
        rows4[threadIdx.x] = smaller(top + threadIdx.x, sizes.h4 - 1) * sizes.w4 * sizeof(T);
    }
    const BranchColumn<T> column8(b + first_channel * sizes.h8 * sizes.w8, sizes.h8, sizes.w8, x, sizes.w4);
    const BranchColumn<T> column16(c + first_channel * sizes.h16 * sizes.w16, sizes.h16, sizes.w16, x, sizes.w4);

    Products products;
    __syncthreads();
    for (int first = 0; first < sizes.channels; first += Products::kChunk) {
#pragma unroll 1
        for (int k = warp; k < Products::kChunk; k += kWarps) {
            __syncwarp();  // or the compiler would keep the row tables in registers, of which there are not enough
            // Channels past the last repeat it: their weights are zero.
            const int channel = smaller(first + k, sizes.channels - 1);
            const unsigned column = static_cast<unsigned>(channel) * plane4 * sizeof(T) + x * sizeof(T);
            float sums[kRows];
#pragma unroll
            for (int row = 0; row < kRows; ++row) sums[row] = load_at(a, column + rows4[row]);
            column8.add(channel, rows8, sums);
            column16.add(channel, rows16, sums);
#pragma unroll
            for (int row = 0; row < kRows; ++row) {
                const float fused = sums[row] >= 0.0f ? sums[row] : sums[row] * slope;
                Products::put(storage.chunk, k, row * kCols + lane, fused);
            }
        }
#pragma unroll 1
        for (int i = threadIdx.x; i < kClasses * Products::kChunk; i += kThreads) {
            const int label = i / Products::kChunk, k = i % Products::kChunk;
            *Products::weight_slot(storage.chunk, k, label) =
                first + k < sizes.channels ? weight[label * sizes.channels + first + k] : from_float<T>(0.0f);
        }
        __syncthreads();
        products.accumulate(storage.chunk);
        __syncthreads();
    }

    const int out_x = blockIdx.x * kCols + lane, out_y = top + warp;
    T* target = logits + static_cast<size_t>(blockIdx.z) * kClasses * plane4 + out_y * sizes.w4 + out_x;
    products.finish(storage, [&](int label, int, float sum) {
        if (out_x < sizes.w4 && out_y < sizes.h4) target[label * plane4] = from_float<T>(sum + load(bias + label));
    });
}

}  // namespace ce2p

// Two blocks per multiprocessor hide each other's waits; many classes need the registers of both.
extern "C" __global__ void __launch_bounds__(256, CE2P_CLASSES > 20 ? 1 : 2) ce2p_edge_fusion(
    const ce2p::Scalar* a, const ce2p::Scalar* b, const ce2p::Scalar* c, const ce2p::Scalar* weight,
    const ce2p::Scalar* bias, int channels, int h4, int w4, int h8, int w8, int h16, int w16, ce2p::Scalar* logits) {
    ce2p::edge_fusion<ce2p::Scalar, CE2P_CLASSES>(
        a, b, c, weight, bias, {channels, h4, w4, h8, w8, h16, w16}, CE2P_SLOPE, logits);
}
