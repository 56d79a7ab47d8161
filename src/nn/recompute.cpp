#include "nn/recompute.h"

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/gradients.h"

namespace lorikeet {
namespace {

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// A node of its own, rather than libtorch's Function: it is part of the graph even where no input wants a gradient, but a captured leaf
// does.
struct RecomputeNode : torch::autograd::Node {
  RecomputedBlock block;
  std::vector<SavedVariable> inputs;  // these notice when an input is written to before backward

  variable_list apply(variable_list&& dy) override {
    if (torch::GradMode::is_enabled()) {
      throw Error(ErrorKind::unsupported, "a recomputed block's gradient cannot be differentiated again",
                  "call backward without create_graph");
    }
    if (!block) throw Error(ErrorKind::internal, "backward goes through a recomputed block for the second time");
    variable_list own(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Tensor input = inputs[i].unpack();
      if (input.defined()) own[i] = input.detach().set_requires_grad(input.requires_grad());
    }
    if (dy[0].defined()) propagate(own, dy[0]);
    variable_list gradients;
    for (const Tensor& input : own) gradients.push_back(input.defined() ? input.grad() : Tensor());
    return gradients;
  }

  void release_variables() override {
    block = nullptr;
    inputs.clear();
  }

 private:
  void propagate(const variable_list& own, const Tensor& dy) const {
    Tensor y;
    {
      const torch::AutoGradMode with_graph(true);
      y = block(own);
    }
    if (y.requires_grad()) torch::autograd::backward({y}, {dy});
  }
};

torch::autograd::edge_list edges_to(const std::vector<Tensor>& inputs) {
  torch::autograd::edge_list edges;
  for (const Tensor& x : inputs) {
    edges.push_back(x.defined() && x.requires_grad() ? torch::autograd::impl::gradient_edge(x) : torch::autograd::Edge());
  }
  return edges;
}

}  // namespace

Tensor recomputed(RecomputedBlock block, const std::vector<Tensor>& inputs) {
  if (!torch::GradMode::is_enabled()) return block(inputs);
  Tensor y;
  if (wants_gradients(inputs)) {
    torch::NoGradGuard no_graph;
    y = block(inputs);
  } else {
    // Only the graph tells whether the block captures something that wants a gradient; it is dropped at once.
    y = block(inputs);
    if (!y.requires_grad()) return y;
  }
  y = y.detach();
  const std::shared_ptr<RecomputeNode> node(new RecomputeNode, torch::autograd::deleteNode);
  node->set_next_edges(edges_to(inputs));
  for (const Tensor& x : inputs) node->inputs.emplace_back(x, /*is_output=*/false);
  node->block = std::move(block);
  torch::autograd::create_gradient_edge(y, node);
  return y;
}

Tensor piece(bool recompute, const RecomputedBlock& block, const std::vector<Tensor>& inputs) {
  if (recompute) return recomputed(block, inputs);
  if (!wants_gradients(inputs)) return block(inputs);
  std::vector<Tensor> own;
  for (const Tensor& x : inputs) own.push_back(x.defined() ? at::alias(x) : x);
  return block(own);
}

}  // namespace lorikeet
