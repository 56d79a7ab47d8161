// GroupNorm and its gradient: sums gathered per piece of the picture in float32, put together in float64. The pieces depend on the
// picture's shape only, so neither the number of threads nor the rest of the batch changes a bit of the result.
#include "nn/kernels/dispatch.h"
#include "nn/kernels/kernels.h"

namespace lorikeet::kernels {
namespace {

struct Picture {
  int64_t batch, channels, pixels, piece_rows, pieces;
  int64_t size() const { return pixels * channels; }
};

Picture picture_of(const Tensor& x) {
  Picture p{x.size(0), x.size(1), x.size(2) * x.size(3), 0, 0};
  p.piece_rows = std::max<int64_t>(1, kPieceBytes / (p.channels * x.element_size()));
  p.pieces = (p.pixels + p.piece_rows - 1) / p.piece_rows;
  return p;
}

// body(picture of the batch, piece, first row, rows)
template <class Body>
void for_pieces(const Picture& p, Body body) {
  parallel(p.batch * p.pieces, [&](int64_t i) {
    const int64_t piece = i % p.pieces, first = piece * p.piece_rows;
    body(i / p.pieces, piece, first, std::min(p.piece_rows, p.pixels - first));
  });
}

float value(float x) { return x; }
float value(Bf16 x) { return static_cast<float>(c10::BFloat16(x.bits, c10::BFloat16::from_bits())); }


// Weight, bias and shift in float32, and where the kernels find them.
struct Parameters {
  Tensor weight_tensor, bias_tensor, shift_tensor;
  const float *weight, *bias, *shifts;  // shifts: [B, C] or null
  explicit Parameters(const GroupNorm& norm)
      : weight_tensor(as_floats(norm.weight)),
        bias_tensor(as_floats(norm.bias)),
        shift_tensor(as_floats(norm.shift)),
        weight(weight_tensor.data_ptr<float>()),
        bias(bias_tensor.data_ptr<float>()),
        shifts(shift_tensor.defined() ? shift_tensor.data_ptr<float>() : nullptr) {}
  double shift(int64_t i) const { return shifts ? shifts[i] : 0.0; }  // i: picture · C + channel
};

void check(const Tensor& x, int64_t groups) {
  if (x.dim() == 4 && groups > 0 && x.size(1) % groups == 0) return;
  throw Error(ErrorKind::internal, "group_norm: cannot part " + to_string(x.sizes()) + " into " + std::to_string(groups) + " groups");
}

// Moments of one group's channels about their pivots -> its mean and 1/√(variance + eps). Chan, Golub & LeVeque (1979), "Updating
// formulae and a pairwise algorithm for computing sample variances".
struct ChannelMoments {
  double mean, squares;
};

void put_together(const std::vector<ChannelMoments>& channels, double pixels, double eps, double* statistics) {
  const double members = static_cast<double>(channels.size());
  double mean = 0, squares = 0;
  for (const auto& c : channels) {
    mean += c.mean / members;
    squares += c.squares;
  }
  for (const auto& c : channels) squares += pixels * (c.mean - mean) * (c.mean - mean);
  statistics[0] = mean;
  statistics[1] = 1 / std::sqrt(std::max(squares, 0.0) / (pixels * members) + eps);
}

// [B, groups, 2]
Tensor statistics_of(const Tensor& x, const Picture& p, const GroupNorm& norm, const Parameters& parameters) {
  const Tensor moments = at::empty({p.batch, p.pieces, 2, p.channels}, x.options().dtype(torch::kFloat));
  const Tensor statistics = at::empty({p.batch, norm.groups, 2}, x.options().dtype(torch::kDouble));
  float* moment = moments.data_ptr<float>();
  double* result = statistics.data_ptr<double>();
  const double n = static_cast<double>(p.pixels);
  std::vector<ChannelMoments> members(p.channels / norm.groups);
  with_rows(x, [&](const auto& kernels, auto element) {
    const auto* from = data(x, element);
    for_pieces(p, [&](int64_t b, int64_t piece, int64_t first, int64_t rows) {
      float* out = moment + (b * p.pieces + piece) * 2 * p.channels;
      kernels.moments(from + b * p.size() + first * p.channels, rows, p.channels, from + b * p.size(), out, out + p.channels);
    });
    for (int64_t i = 0; i < p.batch * p.channels; ++i) {
      const int64_t b = i / p.channels, c = i % p.channels;
      const float* of_pieces = moment + b * p.pieces * 2 * p.channels + c;
      double sum = 0, square = 0;
      for (int64_t piece = 0; piece < p.pieces; ++piece) {
        sum += of_pieces[2 * piece * p.channels];
        square += of_pieces[(2 * piece + 1) * p.channels];
      }
      const auto member = c % static_cast<int64_t>(members.size());
      members[member] = {value(from[b * p.size() + c]) + sum / n + parameters.shift(i), square - sum * sum / n};
      if (member + 1 == static_cast<int64_t>(members.size())) {
        put_together(members, n, norm.eps, result + (b * norm.groups + c / static_cast<int64_t>(members.size())) * 2);
      }
    }
  });
  return statistics;
}

// What the row kernels multiply by, for each picture and channel: rows of [B, kLines, C].
enum Line { kScale, kOffset, kCentre, kOfG, kOfX, kConstant, kLines };

struct Lines {
  Tensor memory;
  int64_t channels;
  explicit Lines(const Picture& p) : memory(at::empty({p.batch, kLines, p.channels}, torch::kFloat)), channels(p.channels) {}
  float* at(int64_t b, Line line) const { return memory.data_ptr<float>() + (b * kLines + line) * channels; }
  GroupNormLines of(int64_t b, bool silu) const {
    return {at(b, kScale), at(b, kOffset), at(b, kCentre), at(b, kOfG), at(b, kOfX), at(b, kConstant), silu};
  }
};

// y = x · scale + offset, and the mean that x has without the shift.
Lines forward_lines(const Tensor& statistics, const Picture& p, const GroupNorm& norm, const Parameters& parameters) {
  const Lines lines(p);
  const double* of_groups = statistics.data_ptr<double>();
  const int64_t members = p.channels / norm.groups;
  for (int64_t i = 0; i < p.batch * p.channels; ++i) {
    const int64_t b = i / p.channels, c = i % p.channels;
    const double* group = of_groups + (b * norm.groups + c / members) * 2;
    const double centre = group[0] - parameters.shift(i), scale = parameters.weight[c] * group[1];
    lines.at(b, kScale)[c] = static_cast<float>(scale);
    lines.at(b, kOffset)[c] = static_cast<float>(parameters.bias[c] - centre * scale);
    lines.at(b, kCentre)[c] = static_cast<float>(centre);
  }
  return lines;
}

Tensor apply(const Tensor& x, const Picture& p, const Lines& lines, bool silu) {
  const Tensor y = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  with_rows(x, [&](const auto& kernels, auto element) {
    const auto* from = data(x, element);
    auto* to = data(y, element);
    for_pieces(p, [&](int64_t b, int64_t, int64_t first, int64_t rows) {
      const int64_t at = b * p.size() + first * p.channels;
      kernels.affine(from + at, to + at, rows, p.channels, lines.at(b, kScale), lines.at(b, kOffset), silu);
    });
  });
  return y;
}

Tensor plain_group_norm(const Tensor& x, const GroupNorm& norm) {
  const Tensor shifted = norm.shift.defined() ? x + norm.shift.to(x.scalar_type()).unsqueeze(-1).unsqueeze(-1) : x;
  const Tensor y = at::group_norm(shifted, norm.groups, norm.weight.to(x.scalar_type()), norm.bias.to(x.scalar_type()), norm.eps);
  return norm.silu ? at::silu(y) : y;
}

// --- the gradient ---

// Σ over a picture's pixels of one channel: of g, g · (x - centre), x - centre.
struct ChannelSums {
  double g = 0, gx = 0, x = 0;
};

// [B · C]
std::vector<ChannelSums> channel_sums(const Tensor& dy, const Tensor& x, const Picture& p, const Lines& lines, bool silu) {
  const Tensor memory = at::empty({p.batch, p.pieces, 3, p.channels}, x.options().dtype(torch::kFloat));
  float* sums = memory.data_ptr<float>();
  with_row_gradients(x, [&](const auto& kernels, auto element) {
    const auto *g = data(dy, element), *from = data(x, element);
    for_pieces(p, [&](int64_t b, int64_t piece, int64_t first, int64_t rows) {
      const int64_t at = b * p.size() + first * p.channels;
      kernels.group_norm_sums(g + at, from + at, rows, p.channels, lines.of(b, silu), sums + (b * p.pieces + piece) * 3 * p.channels);
    });
  });
  std::vector<ChannelSums> result(p.batch * p.channels);
  for (int64_t i = 0; i < p.batch * p.channels; ++i) {
    for (int64_t piece = 0; piece < p.pieces; ++piece) {
      const float* at = sums + (i / p.channels * p.pieces + piece) * 3 * p.channels + i % p.channels;
      result[i].g += at[0];
      result[i].gx += at[p.channels];
      result[i].x += at[2 * p.channels];
    }
  }
  return result;
}

// What the gradients of a group are made of and where they go.
struct GradientJob {
  const Parameters& parameters;
  const std::vector<ChannelSums>& sums;
  const Lines& lines;
  float *weight, *bias, *shift;  // null where not wanted
};

// With x̂ = (x + shift - mean) rstd and N pixels in the group, dx = rstd (w g - Σ w g / N - x̂ Σ w g x̂ / N) (Wu & He 2018, differentiated);
// its sum over a channel's pixels is the gradient of the shift. Fills the backward lines of one group (of [B · groups]).
void finish_group(const Picture& p, int64_t group, int64_t members, const double* statistics, const GradientJob& job) {
  const auto& [parameters, sums, lines, weight, bias, shift] = job;
  const int64_t b = group * members / p.channels, first = group * members % p.channels;
  const double mean = statistics[2 * group], rstd = statistics[2 * group + 1], n = static_cast<double>(p.pixels);
  std::vector<double> gx(members), x(members);  // Σ g x̂, Σ x̂
  double of_one = 0, slope = 0;
  for (int64_t j = 0; j < members; ++j) {
    const int64_t c = first + j, i = b * p.channels + c;
    const double rounding = lines.at(b, kCentre)[c] - (mean - parameters.shift(i));  // the sums are about a centre in float32
    gx[j] = rstd * (sums[i].gx + rounding * sums[i].g);
    x[j] = rstd * (sums[i].x + rounding * n);
    of_one += parameters.weight[c] * sums[i].g / (n * static_cast<double>(members));
    slope += parameters.weight[c] * gx[j] / (n * static_cast<double>(members));
  }
  for (int64_t j = 0; j < members; ++j) {
    const int64_t c = first + j, i = b * p.channels + c;
    const double of_g = parameters.weight[c] * rstd, of_x = -rstd * rstd * slope;
    lines.at(b, kOfG)[c] = static_cast<float>(of_g);
    lines.at(b, kOfX)[c] = static_cast<float>(of_x);
    lines.at(b, kConstant)[c] = static_cast<float>(-rstd * of_one - (mean - parameters.shift(i)) * of_x);
    if (weight) weight[c] += static_cast<float>(gx[j]);
    if (bias) bias[c] += static_cast<float>(sums[i].g);
    if (shift) shift[i] = static_cast<float>(of_g * sums[i].g - rstd * (of_one * n + slope * x[j]));
  }
}

Tensor gradient_of_x(const Tensor& dy, const Tensor& x, const Picture& p, const Lines& lines, bool silu) {
  const Tensor dx = at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
  with_row_gradients(x, [&](const auto& kernels, auto element) {
    const auto *g = data(dy, element), *from = data(x, element);
    auto* to = data(dx, element);
    for_pieces(p, [&](int64_t b, int64_t, int64_t first, int64_t rows) {
      const int64_t at = b * p.size() + first * p.channels;
      kernels.group_norm(g + at, from + at, to + at, rows, p.channels, lines.of(b, silu));
    });
  });
  return dx;
}

}  // namespace

GroupNormResult group_norm_with_statistics(const Tensor& x_any, const GroupNorm& norm) {
  check(x_any, norm.groups);
  const Tensor x = channels_last(x_any);
  if (x.numel() == 0) return {at::empty_like(x), at::zeros({x.size(0), norm.groups, 2}, x.options().dtype(torch::kDouble))};
  const Picture p = picture_of(x);
  const Parameters parameters(norm);
  const Tensor statistics = statistics_of(x, p, norm, parameters);
  return {apply(x, p, forward_lines(statistics, p, norm, parameters), norm.silu), statistics};
}

Tensor group_norm(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, double eps, bool silu, const Tensor& shift) {
  const GroupNorm norm{groups, weight, bias, eps, silu, shift};
  return supported(x) ? group_norm_with_statistics(x, norm).y : plain_group_norm(x, norm);
}

GroupNormGradients group_norm_backward(const Tensor& dy_any, const Tensor& x_any, const Tensor& statistics, const GroupNorm& norm,
                                       const GroupNormWants& wants) {
  check(x_any, norm.groups);
  const Tensor x = channels_last(x_any), dy = channels_last(dy_any);
  const auto small = [&](bool wanted, Shape shape) { return wanted ? at::zeros(shape, x.options().dtype(torch::kFloat)) : Tensor(); };
  GroupNormGradients result;
  result.dweight = small(wants.weight, {x.size(1)});
  result.dbias = small(wants.bias, {x.size(1)});
  result.dshift = small(wants.shift, {x.size(0), x.size(1)});
  if (x.numel() == 0) {
    if (wants.x) result.dx = at::empty_like(x);
    return result;
  }
  const Picture p = picture_of(x);
  const Parameters parameters(norm);
  const Lines lines = forward_lines(statistics, p, norm, parameters);
  const auto sums = channel_sums(dy, x, p, lines, norm.silu);
  const auto at = [](const Tensor& t) { return t.defined() ? t.data_ptr<float>() : nullptr; };
  const int64_t members = p.channels / norm.groups;
  for (int64_t i = 0; i < p.batch * norm.groups; ++i) {
    finish_group(p, i, members, statistics.data_ptr<double>(),
                 {parameters, sums, lines, at(result.dweight), at(result.dbias), at(result.dshift)});
  }
  if (wants.x) result.dx = gradient_of_x(dy, x, p, lines, norm.silu);
  return result;
}

}  // namespace lorikeet::kernels
