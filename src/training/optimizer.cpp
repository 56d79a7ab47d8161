#include "training/optimizer.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "training/optimizers/stateful.h"

namespace lorikeet {
namespace {

constexpr std::array kOptimizers = {
    OptimizerKind{"adamw", "The usual choice.", 1e-4, false, make_adamw},
    OptimizerKind{"lion", "Half of AdamW's memory; wants a tenth to a third of its learning rate and larger batches.", 1e-5, false,
                  make_lion},
    OptimizerKind{"adafactor", "Hardly any memory: for full fine-tuning.", 1e-4, false, make_adafactor},
    OptimizerKind{"prodigy", "Finds its own learning rate; give it 1.", 1, false, make_prodigy},
    OptimizerKind{"schedule_free_adamw", "AdamW that needs no falling learning rate; warms up by itself.", 2.5e-4, true,
                  make_schedule_free_adamw},
};

}  // namespace

std::span<const OptimizerKind> optimizers() { return kOptimizers; }

const OptimizerKind& find_optimizer(std::string_view name) {
  const std::string wanted = lower(trim(name));
  std::vector<std::string> names;
  for (const OptimizerKind& kind : optimizers()) {
    if (wanted == kind.name) return kind;
    names.emplace_back(kind.name);
  }
  const std::string hint = did_you_mean(wanted, names);
  throw Error(ErrorKind::bad_input, "there is no optimiser \"" + std::string(name) + "\"",
              hint.empty() ? "the optimisers are " + join(names, ", ") : hint);
}

double clip_gradients(std::span<const ParameterGroup> groups, double most) {
  std::vector<SliceRow> rows;
  for (const ParameterGroup& group : groups) {
    for (const auto& [name, tensor] : group.parameters) {
      if (const Tensor gradient = tensor.grad(); gradient.defined()) rows.push_back({{gradient}});
    }
  }
  const double norm = std::sqrt(for_each_slice(rows, Cutting::pieces, [](Slice& slice) {
    SliceSums sums{};
    for (const Tensor& part : slice.lists[0]) sums[0] += (part * part).sum().item<double>();
    return sums;
  })[0]);
  if (most > 0 && norm > most && std::isfinite(norm)) {
    for_each_slice(rows, Cutting::pieces, [&](Slice& slice) {
      at::_foreach_mul_(slice.lists[0], most / norm);
      return SliceSums{};
    });
  }
  return norm;
}

}  // namespace lorikeet
