#include "lora/surgery/change.h"

#include <atomic>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "lora/blocks.h"
#include "nn/kernels/parallel.h"

namespace lorikeet {
namespace {

double squared(const Tensor& tensor) { return tensor.to(torch::kDouble).square().sum().item<double>(); }

}  // namespace

Tensor Change::matrix() const {
  if (low_rank) return low_rank->scale * torch::matmul(low_rank->up, low_rank->down);
  if (!whole.defined()) {
    int64_t columns = 1;
    for (size_t i = 1; i < shape.size(); ++i) columns *= shape[i];
    return torch::zeros({shape.at(0), columns});
  }
  return whole.dim() == 1 ? whole.unsqueeze(1) : whole.flatten(1);
}

double Change::norm() const {
  if (!low_rank) return whole.defined() ? std::sqrt(squared(whole)) : 0;
  // ‖UD‖² = tr(UᵀU DDᵀ)
  const Tensor up = low_rank->up.to(torch::kDouble), down = low_rank->down.to(torch::kDouble);
  const double square = (torch::matmul(up.t(), up) * torch::matmul(down, down.t())).sum().item<double>();
  return std::abs(low_rank->scale) * std::sqrt(std::max(square, 0.0));
}

Change change_of(const Adapter& adapter, const Layer& layer, bool with_weights, double multiplier) {
  torch::NoGradGuard no_grad;
  Change change;
  change.shape = layer.base_weight().sizes().vec();
  if (adapter.changes_bias()) change.bias = adapter.merge_bias(Tensor(), multiplier);
  if (!adapter.additive() && !with_weights)
    throw Error(ErrorKind::bad_input,
                "what the " + std::string(adapter.kind()) + " of " + layer.path() + " changes depends on the checkpoint's weights",
                "name the checkpoint with -m");
  if (adapter.additive() && (change.low_rank = adapter.low_rank())) {
    change.low_rank->scale *= multiplier;
    return change;
  }
  const Tensor base = with_weights ? layer.base_weight().to(torch::kFloat) : torch::zeros(change.shape);
  change.whole = adapter.additive() ? adapter.merge(torch::zeros(change.shape), multiplier) : adapter.merge(base, multiplier) - base;
  return change;
}

Change read_change(const LoraReader& reader, const std::string& path, double multiplier) {
  const ReadAdapter read = reader.load(path);
  if (!read.adapter) {
    const std::string first = read.unused.empty() ? reader.module(path) : read.unused.front();
    throw Error(ErrorKind::unsupported, "no kind of LoRA that is known has the tensor " + first, "see docs/formats.md for the kinds");
  }
  return change_of(*read.adapter, *reader.layers().at(path), reader.has_weights(), multiplier);
}

Decomposition decompose(const Change& change) {
  return change.low_rank ? Decomposition::of(*change.low_rank) : Decomposition::exact(change.matrix());
}

std::vector<DraftTensor> plain_lora(const LowRank& factors, const Shape& shape, Dtype dtype) {
  const int64_t rank = factors.rank();
  Tensor down = factors.down, up = factors.up;
  if (shape.size() == 4) {
    down = down.reshape({rank, shape[1], shape[2], shape[3]});
    up = up.reshape({shape[0], rank, 1, 1});
  }
  const double alpha = factors.scale * static_cast<double>(rank);
  return {DraftTensor::of("lora_down.weight", down, dtype), DraftTensor::of("lora_up.weight", up, dtype),
          DraftTensor::of("alpha", torch::tensor(alpha, torch::kFloat), torch::kFloat)};
}

void add_bias(std::vector<DraftTensor>& tensors, const Change& change, Dtype dtype) {
  if (change.bias.defined()) tensors.push_back(DraftTensor::of("diff_b", change.bias, dtype));
}

std::vector<DraftTensor> whole_difference(const Change& change, Dtype dtype) {
  std::vector<DraftTensor> tensors;
  const bool norm = !change.is_matrix();
  if (change.changes_weight()) tensors.push_back(DraftTensor::of(norm ? "w_norm" : "diff", change.matrix().reshape(change.shape), dtype));
  if (change.bias.defined()) tensors.push_back(DraftTensor::of(norm ? "b_norm" : "diff_b", change.bias, dtype));
  return tensors;
}

double total_error(const std::vector<LayerResult>& layers) {
  double wrong = 0, whole = 0;
  for (const LayerResult& layer : layers) {
    wrong += layer.error * layer.norm * layer.error * layer.norm;
    whole += layer.norm * layer.norm;
  }
  return whole > 0 ? std::sqrt(wrong / whole) : 0;
}

void for_each_layer(const std::vector<std::string>& paths, const std::string& stage, Progress& progress,
                    const std::function<void(size_t index, const std::string& path)>& work) {
  progress.stage(stage, static_cast<int>(paths.size()));
  std::atomic<int> done{0};
  std::mutex reporting;
  // One layer a thread: libtorch and its BLAS then work on one thread each, which beats all of them on one small matrix by far.
  kernels::parallel(static_cast<int64_t>(paths.size()), [&](int64_t i) {
    torch::NoGradGuard no_grad;  // the guard is each thread's own
    progress.check();
    const auto index = static_cast<size_t>(i);
    with_context("at layer " + paths[index], [&] { work(index, paths[index]); });
    const std::lock_guard lock(reporting);
    progress.step(++done);
  });
}

std::vector<std::string> paths_of(const LoraReader& reader) {
  std::vector<std::string> paths;
  for (const auto& [path, layer] : reader.layers()) paths.push_back(path);
  return paths;
}

int64_t longest_rank(torch::IntArrayRef shape) {
  if (shape.size() < 2) return 0;
  int64_t columns = 1;
  for (const int64_t side : shape.slice(1)) columns *= side;
  return std::min(shape[0], columns);
}

int64_t longest_rank(const LoraReader& reader) {
  int64_t longest = 0;
  for (const auto& [path, layer] : reader.layers()) longest = std::max(longest, longest_rank(layer->base_weight().sizes()));
  return longest;
}

}  // namespace lorikeet
