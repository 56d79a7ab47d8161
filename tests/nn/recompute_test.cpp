#include "nn/recompute.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/torch_autograd.h"
#include "nn/functional.h"
#include "nn/layer.h"

namespace lorikeet::recompute_test {
namespace {

using Tensors = std::vector<Tensor>;

Tensor leaf(const Shape& shape) { return torch::randn(shape).set_requires_grad(true); }

// A frozen layer with trained factors beside it, an activation, a second input: all that a block of a network does.
struct Block {
  Layer layer{"unet.test", {.op = LayerOp::linear}, torch::randn({16, 16}) / 4, torch::randn({16}), {}};
  Tensor down = leaf({4, 16}), up = leaf({16, 4});
  mutable int runs = 0;

  Block() {
    layer.set_run_time_terms({[this](const Layer&, const Tensor& x) { return torch::linear(torch::linear(x, down), up); }});
  }
  Tensor operator()(const Tensor& x, const Tensor& y) const {
    ++runs;
    return lorikeet::gelu(layer(x, y)) + x;
  }
  RecomputedBlock function() const {
    return [this](const Tensors& in) { return (*this)(in[0], in[1]); };
  }
};

struct Gradients {
  Tensor value, x, y, down, up;
};

// Of the same leaves, with or without recomputation; gradients that nobody wants are undefined.
Gradients gradients(const Block& block, const Tensor& x, const Tensor& y, bool recompute) {
  for (const Tensor& t : {x, y, block.down, block.up}) t.mutable_grad() = Tensor();
  const Tensor out = recompute ? recomputed(block.function(), {x, y}) : block(x, y);
  out.square().sum().backward();
  return {out.detach(), x.grad(), y.grad(), block.down.grad(), block.up.grad()};
}

void expect_equal(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.defined(), b.defined());
  if (a.defined()) {
    EXPECT_TRUE(torch::equal(a, b));
  }
}

void expect_equal(const Gradients& a, const Gradients& b) {
  expect_equal(a.value, b.value);
  expect_equal(a.x, b.x);
  expect_equal(a.y, b.y);
  expect_equal(a.down, b.down);
  expect_equal(a.up, b.up);
}

TEST(Recompute, GradientsAreThoseWithoutItBitForBitWhicheverInputsWantThem) {
  torch::manual_seed(1);
  const Block block;
  for (const bool x_wants : {false, true}) {
    for (const bool y_wants : {false, true}) {
      for (const bool block_wants : {false, true}) {
        SCOPED_TRACE(testing::Message() << "x " << x_wants << ", y " << y_wants << ", captured " << block_wants);
        if (!x_wants && !y_wants && !block_wants) continue;
        const Tensor x = torch::randn({3, 16}).set_requires_grad(x_wants), y = torch::randn({3, 16}).set_requires_grad(y_wants);
        block.down.set_requires_grad(block_wants), block.up.set_requires_grad(block_wants);
        const Gradients plain = gradients(block, x, y, false);
        EXPECT_EQ(plain.x.defined(), x_wants);
        EXPECT_EQ(plain.down.defined(), block_wants);
        expect_equal(gradients(block, x, y, true), plain);
      }
    }
  }
}

TEST(Recompute, WhereNothingNeedsAGradientTheBlockJustRuns) {
  torch::manual_seed(2);
  const Block block;
  const Tensor x = torch::randn({3, 16});
  {
    torch::NoGradGuard no_grad;
    EXPECT_FALSE(recomputed(block.function(), {leaf({3, 16}), x}).requires_grad());
    EXPECT_EQ(block.runs, 1);
  }
  block.down.set_requires_grad(false), block.up.set_requires_grad(false);
  EXPECT_FALSE(recomputed(block.function(), {x, x}).requires_grad());
  EXPECT_EQ(block.runs, 2);
}

TEST(Recompute, ForwardKeepsNothingThatTheBlockMade) {
  torch::manual_seed(3);
  for (const bool input_wants : {false, true}) {
    SCOPED_TRACE(input_wants);
    const Tensor x = torch::randn({3, 16}).set_requires_grad(input_wants), weight = leaf({16, 16});
    std::vector<c10::weak_intrusive_ptr<at::TensorImpl>> made;
    const auto block = [&](const Tensors& in) {
      const Tensor inner = torch::matmul(in[0], weight).exp();
      made.emplace_back(inner.getIntrusivePtr());
      return inner.square();
    };
    const Tensor y = recomputed(block, {x});
    ASSERT_EQ(made.size(), 1);
    EXPECT_TRUE(made[0].expired());
    y.sum().backward();
    EXPECT_EQ(made.size(), 2);
    EXPECT_TRUE(weight.grad().defined());
  }
}

TEST(Recompute, PiecesMayFollowEachOtherAndLieInsideEachOther) {
  torch::manual_seed(4);
  const Block a, b;
  const Tensor x = leaf({3, 16});
  const auto run = [&](bool recompute) {
    for (const Tensor& t : {x, a.down, a.up, b.down, b.up}) t.mutable_grad() = Tensor();
    const RecomputedBlock inner = [&](const Tensors& in) { return recompute ? recomputed(b.function(), {in[0], in[0]}) : b(in[0], in[0]); };
    const RecomputedBlock outer = [&](const Tensors& in) { return inner({a(in[0], x.detach())}) * 0.5; };
    Tensor y = recompute ? recomputed(outer, {x}) : outer({x});
    y = recompute ? recomputed(outer, {y}) : outer({y});  // the same factors for the second time: their gradients add up
    y.square().sum().backward();
    Tensors all;
    for (const Tensor& t : {x, a.down, a.up, b.down, b.up}) all.push_back(t.grad().clone());
    return all;
  };
  const Tensors plain = run(false), again = run(true);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(torch::equal(plain[i], again[i])) << i;
}

TEST(Recompute, AnInputThatWasWrittenToIsNoticed) {
  const Block block;
  const Tensor start = leaf({3, 16});
  Tensor x = start + 1;
  const Tensor y = recomputed(block.function(), {x, x});
  x.add_(1);
  EXPECT_THROW(y.sum().backward(), c10::Error);
}

TEST(Recompute, WhatItCannotDoIsAnError) {
  const Block block;
  const Tensor x = leaf({3, 16});
  const Tensor y = recomputed(block.function(), {x, x}).sum();
  EXPECT_THROW(torch::autograd::grad({y}, {x}, {}, true, /*create_graph=*/true), Error);
  y.backward();
  EXPECT_THROW(y.backward(), std::exception);

  bool fails = false;
  const Tensor z = recomputed(
      [&](const Tensors& in) {
        if (fails) throw Error(ErrorKind::cancelled, "the second time");
        return in[0] * 2;
      },
      {x});
  fails = true;
  EXPECT_THROW(z.sum().backward(), Error);
}

}  // namespace
}  // namespace lorikeet::recompute_test
