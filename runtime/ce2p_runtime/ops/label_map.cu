// label_map: from low-resolution logits to uint8 labels, without the logits at full size in between.
//
//     ce2p_label_resize    label = argmax_c resize(logits[c])                      at any size
//     ce2p_label_warp      label = argmax_c warp(resize(logits[c]))                at the frame's size
//     ce2p_label_nearest   label = labels at the nearest input pixel, 0 outside    at the frame's size
//
// logits float or half [N, C, h, w], labels uint8 [N, height, width]; the lowest class wins a tie. All items of a batch
// share one map. Definition: label_map.py; every value is computed with the same operations in the same order.
//
// A bilinear value lies between those of its four corners, rounding included (blend is monotone). So where all four
// corners have the same best class, it is best everywhere between them, and no logit is read. Only pixels between
// corners that differ evaluate all classes. Labels equal the definition's except where two of its values are bitwise
// equal at a pixel.
//
// Ideal bytes: logits once, N C h w * 4 (half: 2); labels once, N height width; for a warp also the input's labels once.
// Labels leave 4 bytes per thread where width is a multiple of 4, in runs of a warp otherwise.
#include "bilinear.cuh"

#ifndef CE2P_ALIGN_CORNERS
#define CE2P_ALIGN_CORNERS 1
#endif

namespace ce2p {

constexpr bool kAlignCorners = CE2P_ALIGN_CORNERS;
// Logit points whose best class one block can hold; enough for every tile unless the labels are smaller than the logits.
constexpr int kWindow = 4096;

struct Logits {
    const Scalar* values;
    int classes, height, width;

    __device__ int plane() const { return height * width; }
};

// Keeps the best class while values arrive in class order.
struct Best {
    float value;
    int label = 0;

    __device__ void see(int label_seen, float value_seen) {
        if (label_seen == 0 || value_seen > value) {
            value = value_seen;
            label = label_seen;
        }
    }
};

__device__ inline int best_at_point(const Logits& logits, int row, int col) {
    const Scalar* point = logits.values + row * logits.width + col;
    Best best;
    for (int c = 0; c < logits.classes; ++c, point += logits.plane()) best.see(c, load(point));
    return best.label;
}

// One class's resized value: width first, then height.
__device__ inline float resized(const Scalar* plane, const Logits& logits, Tap row, Tap col) {
    const Scalar* upper = plane + row.low * logits.width;
    const Scalar* lower = plane + next_sample(row.low, logits.height) * logits.width;
    const int right = next_sample(col.low, logits.width);
    return blend(
        blend(load(upper + col.low), load(upper + right), col.weight),
        blend(load(lower + col.low), load(lower + right), col.weight), row.weight);
}

__device__ inline int best_resized(const Logits& logits, Tap row, Tap col) {
    const Scalar* plane = logits.values;
    Best best;
    for (int c = 0; c < logits.classes; ++c, plane += logits.plane()) best.see(c, resized(plane, logits, row, col));
    return best.label;
}

// The labels of one thread's four pixels, stored the widest way their alignment allows.
__device__ inline void store_quad(Byte* row, int x, int step, int width, const Byte (&labels)[kQuad]) {
    if (step == 1) {
        if (x < width) *reinterpret_cast<uchar4*>(row + x) = make_uchar4(labels[0], labels[1], labels[2], labels[3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < kQuad; ++i) {
        if (x + i * step < width) row[x + i * step] = labels[i];
    }
}

// Calls label(row, col) for each pixel of this thread in the tile at (top, left), and stores what it returns.
template <typename Label>
__device__ inline void label_tile(int top, int left, int height, int width, Byte* labels, Label label) {
    const TileThread mine(threadIdx.x, width % kQuad == 0);
    for (int row = mine.row; row < kTileRows && top + row < height; row += kThreads / 32) {
        Byte four[kQuad];
#pragma unroll
        for (int i = 0; i < kQuad; ++i) {
            const int col = smaller(mine.first + i * mine.step, width - 1 - left);
            four[i] = static_cast<Byte>(label(row, col));
        }
        store_quad(labels + static_cast<size_t>(top + row) * width, left + mine.first, mine.step, width, four);
    }
}

// Best classes of the logit points that one tile of output pixels lies between.
struct Window {
    Byte labels[kWindow];
    int top, left, width;

    __device__ Byte at(int row, int col) const { return labels[(row - top) * width + col - left]; }
};

struct Corners {
    int upper_left, upper_right, lower_left, lower_right;

    __device__ bool agree() const {
        return upper_left == upper_right && upper_left == lower_left && upper_left == lower_right;
    }
};

// Where input labels are read with a ring of zeros around them.
__device__ inline int label_or_zero(const Byte* labels, int height, int width, int row, int col) {
    if (row < 0 || row >= height || col < 0 || col >= width) return 0;
    return __ldg(labels + static_cast<size_t>(row) * width + col);
}

// One class at a place between four input pixels, each resized from the logits or zero outside.
struct InputCell {
    Tap rows[2], cols[2];  // logit taps of the upper, lower, left and right input pixel
    bool row_inside[2], col_inside[2];
    Tap down, across;

    __device__ float value(const Scalar* plane, const Logits& logits) const {
        float edge[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            float side[2];
#pragma unroll
            for (int c = 0; c < 2; ++c) {
                side[c] = row_inside[r] && col_inside[c] ? resized(plane, logits, rows[r], cols[c]) : 0.0f;
            }
            edge[r] = blend(side[0], side[1], across.weight);
        }
        return blend(edge[0], edge[1], down.weight);
    }
};

}  // namespace ce2p

extern "C" __global__ void __launch_bounds__(256, 2) ce2p_label_resize(
    const ce2p::Scalar* logits, int classes, int h, int w, int height, int width, ce2p::Byte* labels) {
    using namespace ce2p;
    __shared__ Tap rows[kTileRows], cols[kTileCols];
    __shared__ Window window;
    const Logits item{logits + static_cast<size_t>(blockIdx.z) * classes * h * w, classes, h, w};
    const int top = blockIdx.y * kTileRows, left = blockIdx.x * kTileCols;
    const int tall = smaller(kTileRows, height - top), wide = smaller(kTileCols, width - left);
    for (int i = threadIdx.x; i < kTileRows + kTileCols; i += kThreads) {
        if (i < kTileRows) {
            rows[i] = resize_tap(top + i, h, resize_scale(h, height, kAlignCorners), kAlignCorners);
        } else {
            cols[i - kTileRows] =
                resize_tap(left + i - kTileRows, w, resize_scale(w, width, kAlignCorners), kAlignCorners);
        }
    }
    __syncthreads();

    const int first_row = rows[0].low, first_col = cols[0].low;
    const int window_rows = next_sample(rows[tall - 1].low, h) - first_row + 1;
    const int window_cols = next_sample(cols[wide - 1].low, w) - first_col + 1;
    // Labels smaller than the logits can want more points than fit; each pixel is then evaluated by itself.
    const bool shortcut = window_rows * window_cols <= kWindow;
    if (shortcut) {
        for (int i = threadIdx.x; i < window_rows * window_cols; i += kThreads) {
            window.labels[i] = static_cast<Byte>(
                best_at_point(item, first_row + i / window_cols, first_col + i % window_cols));
        }
        if (threadIdx.x == 0) {
            window.top = first_row;
            window.left = first_col;
            window.width = window_cols;
        }
    }
    __syncthreads();

    Byte* out = labels + static_cast<size_t>(blockIdx.z) * height * width;
    label_tile(top, left, height, width, out, [&](int row, int col) {
        const Tap down = rows[row], across = cols[col];
        if (shortcut) {
            const int below = next_sample(down.low, h), right = next_sample(across.low, w);
            const Corners corners{
                window.at(down.low, across.low), window.at(down.low, right), window.at(below, across.low),
                window.at(below, right)};
            if (corners.agree()) return corners.upper_left;
        }
        return best_resized(item, down, across);
    });
}

extern "C" __global__ void __launch_bounds__(256, 2) ce2p_label_warp(
    const ce2p::Scalar* logits, int classes, int h, int w, const ce2p::Byte* input_labels, int input_height,
    int input_width, double ux, double uy, double u0, double vx, double vy, double v0, int height, int width,
    ce2p::Byte* labels) {
    using namespace ce2p;
    __shared__ Tap rows[kTileRows], cols[kTileCols];
    const Affine map{ux, uy, u0, vx, vy, v0};
    const Logits item{logits + static_cast<size_t>(blockIdx.z) * classes * h * w, classes, h, w};
    const Byte* input = input_labels + static_cast<size_t>(blockIdx.z) * input_height * input_width;
    const int top = blockIdx.y * kTileRows, left = blockIdx.x * kTileCols;
    for (int i = threadIdx.x; i < kTileRows + kTileCols; i += kThreads) {
        if (i < kTileRows) {
            rows[i] = affine_tap(map.v(0, top + i), input_height);
        } else {
            cols[i - kTileRows] = affine_tap(map.u(left + i - kTileRows, 0), input_width);
        }
    }
    __syncthreads();

    const bool shared_taps = map.separable();
    const double row_scale = resize_scale(h, input_height, kAlignCorners);
    const double col_scale = resize_scale(w, input_width, kAlignCorners);
    Byte* out = labels + static_cast<size_t>(blockIdx.z) * height * width;
    label_tile(top, left, height, width, out, [&](int row, int col) {
        const Tap down = shared_taps ? rows[row] : affine_tap(map.v(left + col, top + row), input_height);
        const Tap across = shared_taps ? cols[col] : affine_tap(map.u(left + col, top + row), input_width);
        const int y[2] = {down.low, smaller(down.low + 1, input_height)};
        const int x[2] = {across.low, smaller(across.low + 1, input_width)};
        const Corners corners{
            label_or_zero(input, input_height, input_width, y[0], x[0]),
            label_or_zero(input, input_height, input_width, y[0], x[1]),
            label_or_zero(input, input_height, input_width, y[1], x[0]),
            label_or_zero(input, input_height, input_width, y[1], x[1])};
        if (corners.agree()) return corners.upper_left;
        InputCell cell{{}, {}, {}, {}, down, across};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            cell.row_inside[i] = y[i] >= 0 && y[i] < input_height;
            cell.col_inside[i] = x[i] >= 0 && x[i] < input_width;
            cell.rows[i] = resize_tap(y[i], h, row_scale, kAlignCorners);
            cell.cols[i] = resize_tap(x[i], w, col_scale, kAlignCorners);
        }
        const Scalar* plane = item.values;
        Best best;
        for (int c = 0; c < classes; ++c, plane += item.plane()) best.see(c, cell.value(plane, item));
        return best.label;
    });
}

extern "C" __global__ void __launch_bounds__(256, 2) ce2p_label_nearest(
    const ce2p::Byte* input_labels, int input_height, int input_width, double ux, double uy, double u0, double vx,
    double vy, double v0, int height, int width, ce2p::Byte* labels) {
    using namespace ce2p;
    const Affine map{ux, uy, u0, vx, vy, v0};
    const Byte* input = input_labels + static_cast<size_t>(blockIdx.z) * input_height * input_width;
    const int top = blockIdx.y * kTileRows, left = blockIdx.x * kTileCols;
    Byte* out = labels + static_cast<size_t>(blockIdx.z) * height * width;
    label_tile(top, left, height, width, out, [&](int row, int col) {
        const double y = floor(__dadd_rn(map.v(left + col, top + row), 0.5));
        const double x = floor(__dadd_rn(map.u(left + col, top + row), 0.5));
        const bool inside = y >= 0.0 && y < input_height && x >= 0.0 && x < input_width;
        return inside ? label_or_zero(input, input_height, input_width, static_cast<int>(y), static_cast<int>(x)) : 0;
    });
}
