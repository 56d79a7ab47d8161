#include "lora/surgery/compare.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "io/hash.h"
#include "lora/blocks.h"

namespace lorikeet {
namespace {

// ⟨U₁D₁, U₂D₂⟩ = Σ (U₁ᵀU₂) ∘ (D₁D₂ᵀ)
double inner_product(const Change& a, const Change& b) {
  if (a.low_rank && b.low_rank) {
    const auto wide = [](const Tensor& tensor) { return tensor.to(torch::kDouble); };
    const Tensor outputs = torch::matmul(wide(a.low_rank->up).t(), wide(b.low_rank->up));
    const Tensor inputs = torch::matmul(wide(a.low_rank->down), wide(b.low_rank->down).t());
    return a.low_rank->scale * b.low_rank->scale * (outputs * inputs).sum().item<double>();
  }
  return (a.matrix().to(torch::kDouble) * b.matrix()).sum().item<double>();
}

void add(Compared& total, const Compared& layer) {
  total.first = std::hypot(total.first, layer.first);
  total.second = std::hypot(total.second, layer.second);
  total.product += layer.product;
}

Compared compared_layer(const LoraReader& first, const LoraReader& second, const std::string& path) {
  const Change a = read_change(first, path), b = read_change(second, path);
  const auto rows_and_numbers = [](const Change& change) {
    int64_t count = 1;
    for (const int64_t side : change.shape) count *= side;
    return std::pair(change.shape.at(0), count);
  };
  if (rows_and_numbers(a) != rows_and_numbers(b))
    throw Error(ErrorKind::bad_input, "the files change weights of two shapes: " + to_string(a.shape) + " and " + to_string(b.shape),
                "only files for the same model can be compared");
  return {path, a.norm(), b.norm(), inner_product(a, b)};
}

}  // namespace

double Compared::cosine() const { return first > 0 && second > 0 ? product / (first * second) : 0; }

Comparison compare(const LoraReader& first, const LoraReader& second, Progress& progress) {
  const std::string &family = first.report().family, &other = second.report().family;
  if (!family.empty() && !other.empty() && family != other)
    throw Error(ErrorKind::bad_input, first.report().name + " is made for " + family + ", " + second.report().name + " for " + other,
                "only files of one family can be compared");
  Comparison comparison;
  std::vector<std::string> both;
  for (const std::string& path : paths_of(first)) (second.layers().contains(path) ? both : comparison.only_first).push_back(path);
  for (const std::string& path : paths_of(second))
    if (!first.layers().contains(path)) comparison.only_second.push_back(path);
  comparison.layers.resize(both.size());
  for_each_layer(both, "comparing", progress,
                 [&](size_t i, const std::string& path) { comparison.layers[i] = compared_layer(first, second, path); });
  comparison.total.name = "all";
  std::map<std::string, Compared> blocks;
  for (const Compared& layer : comparison.layers) {
    add(comparison.total, layer);
    Compared& block = blocks[block_of(layer.name)];
    block.name = block_of(layer.name);
    add(block, layer);
  }
  for (const auto& [name, block] : blocks) comparison.blocks.push_back(block);
  std::ranges::sort(comparison.blocks, [](const Compared& a, const Compared& b) { return block_before(a.name, b.name); });
  comparison.same_tensors = auto_v3(first.file().path()) == auto_v3(second.file().path());
  std::set<std::string> keys;
  const Metadata &one = first.file().metadata(), &two = second.file().metadata();
  for (const Metadata* metadata : {&one, &two})
    for (const auto& [key, value] : *metadata) keys.insert(key);
  for (const std::string& key : keys) {
    const auto a = one.find(key), b = two.find(key);
    if (a == one.end() || b == two.end() || a->second != b->second) comparison.metadata.push_back(key);
  }
  return comparison;
}

}  // namespace lorikeet
