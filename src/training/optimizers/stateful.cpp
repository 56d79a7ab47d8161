#include "training/optimizers/stateful.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "training/saved_state.h"

namespace lorikeet {
namespace {

void check(const std::vector<ParameterGroup>& groups, const OptimizerOptions& options) {
  std::set<std::string> names;
  for (const ParameterGroup& group : groups) {
    auto bad_rate = [&](std::string_view what, double value) {
      return Error(ErrorKind::bad_input,
                   "the " + std::string(what) + " of " + group.name + " is " + format_number(value) + "; it must be 0 or more");
    };
    if (!(group.learning_rate >= 0 && std::isfinite(group.learning_rate))) throw bad_rate("learning rate", group.learning_rate);
    if (!(group.weight_decay >= 0 && std::isfinite(group.weight_decay))) throw bad_rate("weight decay", group.weight_decay);
    for (const auto& [name, tensor] : group.parameters) {
      if (!names.insert(name).second) throw Error(ErrorKind::internal, "two parameters are called " + name);
      if (!tensor.is_leaf() || tensor.scalar_type() != torch::kFloat) {
        throw Error(ErrorKind::internal, "parameter " + name + " is not a float32 leaf");
      }
    }
  }
  if (names.empty())
    throw Error(ErrorKind::bad_input, "there is nothing to train: no parameters", "choose other targets, or a rank above 0");
  for (const double beta : {*options.beta1, *options.beta2}) {
    if (!(beta >= 0 && beta < 1))
      throw Error(ErrorKind::bad_input, "beta is " + format_number(beta) + "; it must be at least 0 and less than 1");
  }
}

Tensor scalar(double value) { return torch::tensor(value, torch::kDouble); }

}  // namespace

Tensor StatefulOptimizer::zeros(const Tensor& weight) { return torch::zeros_like(weight).set_requires_grad(false); }
Tensor StatefulOptimizer::copy(const Tensor& weight) { return weight.detach().clone(); }

StatefulOptimizer::StatefulOptimizer(std::vector<ParameterGroup> groups, const OptimizerOptions& options, std::vector<Slot> slots,
                                     Betas betas)
    : groups_(std::move(groups)), options_(options), slots_(std::move(slots)) {
  if (!options_.beta1) options_.beta1 = betas.beta1;
  if (!options_.beta2) options_.beta2 = betas.beta2;
  check(groups_, options_);
  for (size_t g = 0; g < groups_.size(); ++g) {
    for (const auto& [name, weight] : groups_[g].parameters) {
      Entry entry{name, g, weight, {}};
      for (const Slot& slot : slots_) entry.slots.push_back(slot.initial(weight));
      entries_.push_back(std::move(entry));
    }
  }
}

SliceSums StatefulOptimizer::for_each_gradient(Cutting cutting, const Update& update) {
  std::vector<SliceRow> rows;
  std::vector<Place> places;  // by key: neighbours of one group and one count share a key
  const Entry* before = nullptr;
  for (const Entry& entry : entries_) {
    const Tensor gradient = entry.weight.grad();
    if (!gradient.defined()) continue;
    if (before == nullptr || before->group != entry.group || before->steps != entry.steps) {
      places.push_back({groups_[entry.group], entry.steps + 1});
    }
    SliceRow row{{entry.weight, gradient}, static_cast<int64_t>(places.size()) - 1};
    row.tensors.insert(row.tensors.end(), entry.slots.begin(), entry.slots.end());
    rows.push_back(std::move(row));
    before = &entry;
  }
  return for_each_slice(rows, cutting, [&](Slice& slice) { return update(places[slice.key], slice); });
}

void StatefulOptimizer::count_step() {
  for (Entry& entry : entries_) {
    if (entry.weight.grad().defined()) ++entry.steps;
  }
}

void StatefulOptimizer::for_each_parameter(const std::function<void(Slice&)>& work) {
  std::vector<SliceRow> rows;
  for (const Entry& entry : entries_) {
    SliceRow row{{entry.weight}};
    row.tensors.insert(row.tensors.end(), entry.slots.begin(), entry.slots.end());
    rows.push_back(std::move(row));
  }
  for_each_slice(rows, Cutting::pieces, [&](Slice& slice) {
    work(slice);
    return SliceSums{};
  });
}

std::vector<NamedTensor> StatefulOptimizer::state() const {
  std::vector<NamedTensor> result;
  for (const auto& [name, value] : numbers_) result.push_back({name, scalar(value)});
  for (const Entry& entry : entries_) {
    result.push_back({"steps." + entry.name, torch::tensor(entry.steps, torch::kLong)});
    for (size_t k = 0; k < slots_.size(); ++k) {
      if (!entry.slots[k].defined()) continue;
      result.push_back({std::string(slots_[k].name) + "." + entry.name, entry.slots[k].detach().to(torch::kCPU)});
    }
  }
  return result;
}

void StatefulOptimizer::load_state(const std::vector<NamedTensor>& state) {
  SavedState saved(state, "the optimiser");
  std::map<std::string, double> numbers;
  for (const auto& [name, value] : numbers_) numbers[name] = saved.take(name, {}).item<double>();
  std::vector<int64_t> steps;
  std::vector<std::pair<Tensor, Tensor>> copies;  // to, from: nothing is written before all is checked
  for (const Entry& entry : entries_) {
    steps.push_back(saved.take("steps." + entry.name, {}).item<int64_t>());
    for (size_t k = 0; k < slots_.size(); ++k) {
      if (!entry.slots[k].defined()) continue;
      copies.emplace_back(entry.slots[k], saved.take(std::string(slots_[k].name) + "." + entry.name, entry.slots[k].sizes()));
    }
  }
  saved.expect_all_taken();
  for (auto& [to, from] : copies) to.copy_(from);
  for (size_t i = 0; i < steps.size(); ++i) entries_[i].steps = steps[i];
  numbers_ = numbers;
}

}  // namespace lorikeet
