// What all optimisers share: the parameters with their own state tensors ("slots") and step counts, a few numbers of the whole run, and how
// all that is saved and loaded.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "training/optimizer.h"
#include "training/slices.h"

namespace lorikeet {

class StatefulOptimizer : public Optimizer {
 public:
  std::vector<NamedTensor> state() const final;
  void load_state(const std::vector<NamedTensor>& state) final;
  double effective_learning_rate(double lr_factor) const override { return groups_.front().learning_rate * lr_factor; }

 protected:
  // A state tensor of each parameter, as it is at first; undefined: this parameter has none.
  struct Slot {
    std::string_view name;
    Tensor (*initial)(const Tensor& weight);
  };
  static Tensor zeros(const Tensor& weight);
  static Tensor copy(const Tensor& weight);

  // The options' betas, or where they are unset these.
  struct Betas {
    double beta1 = 0.9, beta2 = 0.999;
  };
  StatefulOptimizer(std::vector<ParameterGroup> groups, const OptimizerOptions& options, std::vector<Slot> slots, Betas betas);

  // What a slice belongs to.
  struct Place {
    const ParameterGroup& group;
    int64_t step;  // the how-many-th update of these parameters this is, from 1
  };
  using Update = std::function<SliceSums(const Place&, Slice&)>;
  // The lists of a slice: weight, gradient, then the slots. Parameters without a gradient are left out.
  SliceSums for_each_gradient(Cutting cutting, const Update& update);
  // After the last pass of a step: the parameters with a gradient have made it.
  void count_step();
  // The lists of a slice: weight, then the slots; all parameters, with or without gradient.
  void for_each_parameter(const std::function<void(Slice&)>& work);

  std::vector<ParameterGroup> groups_;
  OptimizerOptions options_;  // betas are set
  std::map<std::string, double> numbers_;

 private:
  struct Entry {
    std::string name;
    size_t group;
    Tensor weight;
    std::vector<Tensor> slots;
    int64_t steps = 0;
  };
  std::vector<Slot> slots_;
  std::vector<Entry> entries_;
};

std::unique_ptr<Optimizer> make_adamw(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_lion(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_adafactor(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_prodigy(std::vector<ParameterGroup> groups, const OptimizerOptions& options);
std::unique_ptr<Optimizer> make_schedule_free_adamw(std::vector<ParameterGroup> groups, const OptimizerOptions& options);

}  // namespace lorikeet
