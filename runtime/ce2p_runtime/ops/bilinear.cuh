// Bilinear interpolation along one axis, bit for bit as bilinear.py defines it: coordinates in double, weights and
// blends in float, every operation rounded by itself. Hence the _rn intrinsics: the compiler may fuse a plain a * b + c
// into one rounding, which would move labels where two classes are nearly equal.
#pragma once

#include "cuda_types.cuh"

namespace ce2p {

// Where one target sample reads: sample `low` with share 1 - weight, the next one with share weight.
struct Tap {
    int low;
    float weight;
};

// low * (1 - weight) + high * weight. Monotone in `low` and `high` even after rounding, which is what makes the
// four-corner shortcut of label_map exact.
__device__ inline float blend(float low, float high, float weight) {
    return __fadd_rn(__fmul_rn(low, __fsub_rn(1.0f, weight)), __fmul_rn(high, weight));
}

__device__ inline Tap tap_at(double coordinate) {
    const double below = floor(coordinate);
    return {static_cast<int>(below), static_cast<float>(__dsub_rn(coordinate, below))};
}

// Source samples per target sample (`resize_taps` in bilinear.py).
__device__ inline double resize_scale(int source, int target, bool align_corners) {
    if (!align_corners) return __ddiv_rn(source, target);
    return target > 1 ? __ddiv_rn(source - 1, target - 1) : 1.0;
}

// Where target sample `index` falls on the source axis; half-pixel coordinates may lie half a sample outside.
__device__ inline double resize_coordinate(int index, double scale, bool align_corners) {
    return align_corners ? __dmul_rn(index, scale) : __dsub_rn(__dmul_rn(__dadd_rn(index, 0.5), scale), 0.5);
}

// Tap of target sample `index`; the sample after `low` is next_sample(low, source).
__device__ inline Tap resize_tap(int index, int source, double scale, bool align_corners) {
    return tap_at(fmin(fmax(resize_coordinate(index, scale, align_corners), 0.0), source - 1.0));
}

__device__ inline int next_sample(int low, int samples) { return smaller(low + 1, samples - 1); }

// Tap of a coordinate on an axis of `samples` with one zero sample added at either end (`affine_taps` in bilinear.py):
// -1 and `samples` name the zeros, and what lies further out reads the closing zero twice.
__device__ inline Tap affine_tap(double coordinate, int samples) {
    const double below = floor(coordinate);
    const bool inside = below >= -1.0 && below <= samples - 1.0;
    return {inside ? static_cast<int>(below) : samples, static_cast<float>(__dsub_rn(coordinate, below))};
}

// An affine map from target pixel (x, y) to source pixel (u, v), passed to kernels by value.
struct Affine {
    double ux, uy, u0, vx, vy, v0;

    // x * ux + y * uy + u0, each operation rounded, as NumPy computes the grid.
    __device__ double u(int x, int y) const {
        return __dadd_rn(__dadd_rn(__dmul_rn(x, ux), __dmul_rn(y, uy)), u0);
    }
    __device__ double v(int x, int y) const {
        return __dadd_rn(__dadd_rn(__dmul_rn(x, vx), __dmul_rn(y, vy)), v0);
    }
    // Without rotation and shear, u depends on x alone and v on y alone: taps are shared by columns and rows.
    __device__ bool separable() const { return uy == 0.0 && vx == 0.0; }
};

}  // namespace ce2p
