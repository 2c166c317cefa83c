// What an update computes beside sums and filters (eq. 8, 10, 11), each pixel by itself or with its neighbours:
// the same as terms.py and projection.py do, in three passes over memory instead of fifty.
//
// Arrays are those of terms.py, float or bool, without gaps; of two regions 0 is the foreground, 1 the
// background. Whatever the number of threads is, they share all images and their pixels.

#ifndef KERNEL  // or what a test makes of it
#define KERNEL extern "C" __global__ void
#define INLINE __device__ inline
#endif

#define FOR_EACH_IMAGE(n) for (int n = blockIdx.x; n < images; n += gridDim.x)
#define FOR_EACH_PIXEL(p, pixels) \
    for (int p = blockIdx.y * blockDim.x + threadIdx.x; p < (pixels); p += gridDim.y * blockDim.x)

// 1 / |M| or -1 / |M'|; 0 where one of them is empty. `size` is that of the predicting regions: |M'|, |M|.
INLINE float weight_of(const float *size, int region)
{
    if (size[0] == 0 || size[1] == 0) return 0;
    return region ? -1 / size[0] : 1 / size[1];
}

// terms.inpaint, given terms.add_up: errors of both regions, and the derivatives by the own one's prediction.
KERNEL inpaint(
    int images, int height, int width, int channels,
    const float *colours, const bool *masks,
    const float *size, const float *total, const float *support, const float *filtered, float epsilon,
    float *error, float *by_colours, float *by_support)
{
    long long pixels = (long long)height * width;
    FOR_EACH_IMAGE(n)
    FOR_EACH_PIXEL(p, pixels) {
        int own = masks[n * pixels + p] ? 0 : 1;
        for (int region = 0; region < 2; region++) {
            long long r = 2 * n + region;
            float S = support[r * pixels + p] + (epsilon * size[r] + (size[r] == 0));
            float weight = weight_of(size + 2 * n, region) / channels / S;
            float sum = 0, by_psi = 0;
            for (int c = 0; c < channels; c++) {
                long long i = (n * channels + c) * pixels + p;
                float psi = (filtered[(r * channels + c) * pixels + p] + epsilon * total[r * channels + c]) / S;
                float residual = colours[i] - psi;
                sum += fabsf(residual);
                if (region == own) {
                    float by = residual > 0 ? weight : residual < 0 ? -weight : 0;
                    by_colours[i] = by;
                    by_psi += by * psi;
                }
            }
            error[r * pixels + p] = sum / channels;
            if (region == own) by_support[n * pixels + p] = -by_psi;
        }
    }
}

// The gradient's parts put together as in terms.gradient, and what projection.project does but for smoothing.
//
// `errors`, `sum_by_colours`, `sum_by_support`: sums over all pixels; of the errors, over those of the region.
// `multiplied`, `rest`: by_colours and by_support after the adjoint filter.
KERNEL project(
    int images, int height, int width, int channels,
    const float *colours, const bool *masks,
    const float *size, const float *total, const float *error, const float *errors,
    const float *multiplied, const float *rest, const float *sum_by_colours, const float *sum_by_support,
    float epsilon, float regularization, int boundary_only,
    bool *projected)
{
    long long pixels = (long long)height * width;
    FOR_EACH_IMAGE(n) {
        float weight_f = weight_of(size + 2 * n, 0), weight_b = weight_of(size + 2 * n, 1);
        float constant = epsilon * sum_by_support[n]
            - (weight_f * weight_f * errors[2 * n] - weight_b * weight_b * errors[2 * n + 1]);
        FOR_EACH_PIXEL(p, pixels) {
            const bool *M = masks + n * pixels + p;
            int row = p / width, column = p % width;
            bool may_change = !boundary_only
                || row == 0 || row == height - 1 || column == 0 || column == width - 1
                || M[-width] != M[0] || M[width] != M[0] || M[-1] != M[0] || M[1] != M[0];
            float gradient = 0;
            if (may_change && weight_f != 0) {
                gradient = rest[n * pixels + p] + constant
                    + (weight_f * error[2 * n * pixels + p] + weight_b * error[(2 * n + 1) * pixels + p]);
                for (int c = 0; c < channels; c++) {
                    long long i = n * channels + c;
                    float mean_f = total[(2 * n + 1) * channels + c] / size[2 * n + 1];
                    float mean_b = total[2 * n * channels + c] / size[2 * n];
                    float slope = multiplied[i * pixels + p]
                        + (epsilon * sum_by_colours[i] + 2 * regularization * (mean_f - mean_b));
                    gradient += slope * colours[i * pixels + p]
                        - regularization * (mean_f * mean_f - mean_b * mean_b);
                }
            }
            projected[n * pixels + p] = gradient == 0 ? M[0] : gradient > 0;
        }
    }
}

// projection.smooth.
KERNEL smooth(int images, int height, int width, const bool *masks, bool *smoothed)
{
    long long pixels = (long long)height * width;
    FOR_EACH_IMAGE(n)
    FOR_EACH_PIXEL(p, pixels) {
        int row = p / width, column = p % width, count = 0;
        for (int y = row > 0 ? row - 1 : 0; y <= row + 1 && y < height; y++)
            for (int x = column > 0 ? column - 1 : 0; x <= column + 1 && x < width; x++)
                count += masks[n * pixels + (long long)y * width + x];
        smoothed[n * pixels + p] = count >= 4;
    }
}
