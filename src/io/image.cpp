#include "io/image.h"

#include <algorithm>
#include <cmath>

namespace lorikeet {

namespace {

Tensor planes(const Picture& picture) {
  const auto bytes =
      torch::from_blob(const_cast<uint8_t*>(picture.pixels.data()), {picture.height_px, picture.width_px, picture.channels}, torch::kByte);
  return bytes.permute({2, 0, 1}).to(torch::kFloat).div(255).contiguous();
}

double cubic(double x) {  // Keys 1981 with a = -0.5, as Pillow
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

double lanczos3(double x) {
  x = std::abs(x);
  if (x >= 3) return 0;
  if (x < 1e-8) return 1;
  const double p = M_PI * x;
  return std::sin(p) / p * std::sin(p / 3) / (p / 3);
}

constexpr int kBlock = 64;  // samples that are computed in one product: of a large picture each needs only what lies near it

// One side of a picture from `from` to `to` samples.
struct Side {
  int from, to;
  Resampling resampling;

  double scale() const { return static_cast<double>(from) / to; }
  double widened() const { return std::max(scale(), 1.0); }
  double center(int i) const { return (i + 0.5) * scale(); }

  // The inputs [first, end) that sample i is made of.
  std::pair<int, int> inputs(int i) const {
    const int nearest = std::min(from - 1, static_cast<int>(center(i)));
    if (resampling == Resampling::nearest) return {nearest, nearest + 1};
    const double support = (resampling == Resampling::lanczos ? 3.0 : 2.0) * widened();
    return {std::max(0, static_cast<int>(center(i) - support + 0.5)), std::min(from, static_cast<int>(center(i) + support + 0.5))};
  }

  double weight(int i, int input) const {
    if (resampling == Resampling::nearest) return 1;
    const double at = (input + 0.5 - center(i)) / widened();
    return resampling == Resampling::lanczos ? lanczos3(at) : cubic(at);
  }
};

// Samples [begin, end) as a product with the inputs from `first` on.
struct Block {
  int first = 0;
  Tensor weights;  // [samples, inputs]
};

Block block_of(const Side& side, int begin, int end) {
  const int first = side.inputs(begin).first, last = side.inputs(end - 1).second;
  Block block{first, torch::zeros({end - begin, last - first})};
  auto weights = block.weights.accessor<float, 2>();
  for (int i = begin; i < end; ++i) {
    const auto [from, to] = side.inputs(i);
    double sum = 0;
    for (int j = from; j < to; ++j) sum += side.weight(i, j);
    for (int j = from; j < to; ++j) weights[i - begin][j - first] = static_cast<float>(side.weight(i, j) / sum);
  }
  return block;
}

// product(block) for all blocks, put together along `dimension`.
template <class Product>
Tensor in_blocks(const Side& side, int64_t dimension, Product product) {
  std::vector<Tensor> parts;
  for (int begin = 0; begin < side.to; begin += kBlock) parts.push_back(product(block_of(side, begin, std::min(side.to, begin + kBlock))));
  return torch::cat(parts, dimension);
}

}  // namespace

Tensor to_8_bits(const Tensor& image) { return image.mul(255).round().clamp(0, 255).div(255); }

Tensor image_of(const Picture& picture) {
  const Tensor all = planes(picture);
  if (picture.channels == 1) return all.expand({3, -1, -1}).contiguous();
  const Tensor colour = all.slice(0, 0, 3);
  if (picture.channels == 3) return colour.contiguous();
  const Tensor alpha = all.slice(0, 3, 4);
  return (colour * alpha + (1 - alpha)).contiguous();
}

Tensor mask_of(const Picture& picture) {
  const Tensor all = planes(picture);
  if (picture.channels == 1) return all;
  if (picture.channels == 4 && all[3].min().item<float>() < 1) return all.slice(0, 3, 4).contiguous();
  // ITU-R 601 luma, Pillow's convert("L").
  return to_8_bits(all[0] * 0.299 + all[1] * 0.587 + all[2] * 0.114).unsqueeze(0);
}

Picture picture_of(const Tensor& image) {
  const Tensor bytes =
      image.detach().to(torch::kCPU, torch::kFloat).mul(255).round().clamp(0, 255).to(torch::kByte).permute({1, 2, 0}).contiguous();
  Picture picture;
  picture.height_px = static_cast<int>(bytes.size(0));
  picture.width_px = static_cast<int>(bytes.size(1));
  picture.channels = static_cast<int>(bytes.size(2));
  picture.pixels.assign(bytes.data_ptr<uint8_t>(), bytes.data_ptr<uint8_t>() + bytes.numel());
  return picture;
}

Tensor resize(const Tensor& image, int width_px, int height_px, Resampling resampling) {
  const auto height = static_cast<int>(image.size(1)), width = static_cast<int>(image.size(2));
  if (height == height_px && width == width_px) return image;
  const Tensor narrowed = in_blocks({width, width_px, resampling}, 2, [&](const Block& block) {
    return torch::matmul(image.slice(2, block.first, block.first + block.weights.size(1)), block.weights.t());
  });
  return to_8_bits(in_blocks({height, height_px, resampling}, 1, [&](const Block& block) {
    return torch::matmul(block.weights, narrowed.slice(1, block.first, block.first + block.weights.size(1)));
  }));
}

}  // namespace lorikeet
