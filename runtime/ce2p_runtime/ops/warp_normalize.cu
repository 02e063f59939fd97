// warp_normalize: from uint8 BGR frames to the network's input, in one pass over the output.
//
//     (u, v) = inverse * (x, y, 1)
//     p[c]   = round(bilinear sample of the frame at (u, v))         ties to even; samples outside are 0
//     out[c] = p[c] * gain[c] + offset[c]                            gain = scale / std, offset = -mean / std
//
// frames [N, H, pitch] bytes, BGR pixels packed within a row; out float or half [N, 3, height, width] in tensor channel
// order (ce2p_crop: the pixels p themselves, uint8 BGR [N, height, width, 3], for networks that normalise themselves).
// Definition: warp_normalize.py. Pixels p are equal bit for bit; `out` rounds once where the reference divides.
//
// Ideal bytes: each output written once, 12 (half: 6) bytes a pixel; each frame byte that a sample needs read once, at
// most 2 rows and 2 pixels per output pixel: min(H, 2 height) * min(W, 2 width) * 3.
// Floats are stored 16 bytes (halves 8) at a time where width is a multiple of 4, in runs of a warp otherwise. Frame
// bytes are gathered through the read-only cache: neighbouring threads read neighbouring pixels.
#include "bilinear.cuh"

namespace ce2p {

struct FrameView {
    const Byte* pixels;
    int height, width, pitch;

    __device__ float at(int row, int col, int channel) const {
        if (row < 0 || row >= height || col < 0 || col >= width) return 0.0f;
        return static_cast<float>(__ldg(pixels + static_cast<size_t>(row) * pitch + col * 3 + channel));
    }
};

// The rounded bilinear sample of all three channels. `clamp`: the last row and column repeat (plain resize).
__device__ inline void sample(const FrameView& frame, Tap row, Tap col, bool clamp, float (&pixel)[3]) {
    const int below = clamp ? next_sample(row.low, frame.height) : smaller(row.low + 1, frame.height);
    const int right = clamp ? next_sample(col.low, frame.width) : smaller(col.low + 1, frame.width);
    for (int c = 0; c < 3; ++c) {
        const float upper = blend(frame.at(row.low, col.low, c), frame.at(row.low, right, c), col.weight);
        const float lower = blend(frame.at(below, col.low, c), frame.at(below, right, c), col.weight);
        pixel[c] = rintf(blend(upper, lower, row.weight));
    }
}

// The taps of one tile: shared by its rows and columns where the map is separable.
struct WarpTaps {
    Tap rows[kTileRows];
    Tap cols[kTileCols];
};

__device__ inline void fill_taps(
    WarpTaps& taps, const FrameView& frame, const Affine& inverse, bool resize, int top, int left, int height,
    int width) {
    for (int i = threadIdx.x; i < kTileRows + kTileCols; i += kThreads) {
        const bool is_row = i < kTileRows;
        const int at = is_row ? top + i : left + i - kTileRows;
        const int source = is_row ? frame.height : frame.width;
        Tap tap;
        if (resize) {
            tap = resize_tap(at, source, resize_scale(source, is_row ? height : width, false), false);
        } else {
            tap = affine_tap(is_row ? inverse.v(0, at) : inverse.u(at, 0), source);
        }
        (is_row ? taps.rows[i] : taps.cols[i - kTileRows]) = tap;
    }
}

// Calls write(x, y, pixels[4][3], count) for every group of four pixels of this thread; `count` of them are inside.
template <typename Write>
__device__ inline void for_each_quad(
    const FrameView& frame, const Affine& inverse, bool resize, int height, int width, Write write) {
    __shared__ WarpTaps taps;
    const int top = blockIdx.y * kTileRows, left = blockIdx.x * kTileCols;
    fill_taps(taps, frame, inverse, resize, top, left, height, width);
    __syncthreads();
    const bool shared_taps = resize || inverse.separable();
    const TileThread mine(threadIdx.x, width % kQuad == 0);
    for (int row = mine.row; row < kTileRows && top + row < height; row += 8) {
        float pixels[kQuad][3];
        for (int i = 0; i < kQuad; ++i) {
            const int col = mine.first + i * mine.step, x = smaller(left + col, width - 1), y = top + row;
            const Tap across = shared_taps ? taps.cols[x - left] : affine_tap(inverse.u(x, y), frame.width);
            const Tap down = shared_taps ? taps.rows[row] : affine_tap(inverse.v(x, y), frame.height);
            sample(frame, down, across, resize, pixels[i]);
        }
        write(left + mine.first, top + row, mine.step, pixels);
    }
}

template <typename T> struct alignas(sizeof(T) * kQuad) Four {
    T values[kQuad];
};

}  // namespace ce2p

extern "C" __global__ void __launch_bounds__(256) ce2p_warp_normalize(
    const ce2p::Byte* frames, int frame_height, int frame_width, int pitch, int resize, double ux, double uy, double u0,
    double vx, double vy, double v0, float gain0, float gain1, float gain2, float offset0, float offset1, float offset2,
    int reverse_channels, int height, int width, ce2p::Scalar* out) {
    using namespace ce2p;
    const size_t item = blockIdx.z;
    const FrameView frame{frames + item * frame_height * pitch, frame_height, frame_width, pitch};
    const float gain[3] = {gain0, gain1, gain2}, offset[3] = {offset0, offset1, offset2};
    const size_t plane = static_cast<size_t>(height) * width;
    for_each_quad(
        frame, Affine{ux, uy, u0, vx, vy, v0}, resize != 0, height, width,
        [&](int x, int y, int step, const float (&pixels)[kQuad][3]) {
            for (int c = 0; c < 3; ++c) {
                Four<Scalar> four;
                for (int i = 0; i < kQuad; ++i) {
                    const float pixel = reverse_channels ? pixels[i][2 - c] : pixels[i][c];
                    four.values[i] = from_float<Scalar>(fmaf(pixel, gain[c], offset[c]));
                }
                Scalar* target = out + (item * 3 + c) * plane + static_cast<size_t>(y) * width + x;
                if (step == 1) {
                    if (x < width) *reinterpret_cast<Four<Scalar>*>(target) = four;
                } else {
                    for (int i = 0; i < kQuad; ++i) {
                        if (x + i * step < width) target[i * step] = four.values[i];
                    }
                }
            }
        });
}

extern "C" __global__ void __launch_bounds__(256) ce2p_crop(
    const ce2p::Byte* frames, int frame_height, int frame_width, int pitch, int resize, double ux, double uy, double u0,
    double vx, double vy, double v0, int height, int width, ce2p::Byte* out) {
    using namespace ce2p;
    const size_t item = blockIdx.z;
    const FrameView frame{frames + item * frame_height * pitch, frame_height, frame_width, pitch};
    for_each_quad(
        frame, Affine{ux, uy, u0, vx, vy, v0}, resize != 0, height, width,
        [&](int x, int y, int step, const float (&pixels)[kQuad][3]) {
            Byte* target = out + ((item * height + y) * width + x) * 3;
            if (step == 1) {
                // Four pixels are twelve bytes: three aligned words.
                if (x < width) {
                    for (int word = 0; word < 3; ++word) {
                        Four<Byte> bytes;
                        for (int i = 0; i < kQuad; ++i) {
                            bytes.values[i] = static_cast<Byte>(pixels[(word * 4 + i) / 3][(word * 4 + i) % 3]);
                        }
                        reinterpret_cast<Four<Byte>*>(target)[word] = bytes;
                    }
                }
                return;
            }
            for (int i = 0; i < kQuad; ++i) {
                if (x + i * step >= width) continue;
                for (int c = 0; c < 3; ++c) target[i * step * 3 + c] = static_cast<Byte>(pixels[i][c]);
            }
        });
}
