#include "training/optimizer.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.h"
#include "io/tensor_file.h"

using namespace lorikeet;

namespace {

const std::vector<std::string> kNames = {"matrix", "bias", "kernel"};
constexpr int kSteps = 12;

struct TrainedRun {
  std::vector<ParameterGroup> groups;
  std::unique_ptr<Optimizer> optimizer;
  Tensor& tensor(size_t group, size_t i) { return groups[group].parameters[i].tensor; }
};

Tensor leaf(const Tensor& value) { return value.detach().clone().requires_grad_(); }

// Of the size of a slice and more, not a multiple of one; one of one element; a kernel.
TrainedRun random_run(const OptimizerKind& kind, uint64_t seed, double rate = 0.01) {
  torch::manual_seed(seed);
  TrainedRun run;
  run.groups = {{"unet", {{"large", leaf(torch::randn({300, 401}))}, {"one", leaf(torch::randn({1}))}}, rate, 0.1},
                {"text_encoder", {{"kernel", leaf(torch::randn({8, 4, 3, 3}))}, {"zero", leaf(torch::zeros({4, 5}))}}, rate, 0}};
  run.optimizer = kind.make(run.groups, {});
  return run;
}

void draw_gradients(TrainedRun& run, uint64_t seed) {
  torch::manual_seed(seed);
  for (ParameterGroup& group : run.groups) {
    for (NamedTensor& parameter : group.parameters) parameter.tensor.mutable_grad() = torch::randn_like(parameter.tensor).detach() + 0.5;
  }
}

bool same_bits(const TrainedRun& a, const TrainedRun& b) {
  for (size_t g = 0; g < a.groups.size(); ++g) {
    for (size_t i = 0; i < a.groups[g].parameters.size(); ++i) {
      if (!torch::equal(a.groups[g].parameters[i].tensor, b.groups[g].parameters[i].tensor)) return false;
    }
  }
  return true;
}

OptimizerOptions betas(double beta1) {
  OptimizerOptions options;
  options.beta1 = beta1;
  return options;
}

double number_of(const Optimizer& optimizer, std::string_view name) {
  for (const NamedTensor& tensor : optimizer.state()) {
    if (tensor.name == name) return tensor.tensor.item<double>();
  }
  return std::nan("");
}

class ForEachOptimizer : public ::testing::TestWithParam<OptimizerKind> {};
std::string kind_name(const ::testing::TestParamInfo<OptimizerKind>& info) { return std::string(info.param.name); }

}  // namespace

namespace lorikeet {
void PrintTo(const OptimizerKind& kind, std::ostream* out) { *out << kind.name; }
}  // namespace lorikeet

// The reference implementations, in float64. Float32 rounds each of 12 steps by at most 6e-8 of the weight; the change itself is worth 2e-5
// because Prodigy's estimate sums float32 products.
TEST_P(ForEachOptimizer, StepsAsItsReferenceImplementation) {
  auto golden = TensorFile::open(std::filesystem::path(LORIKEET_GOLDEN_DIR) / "optimizers" / "golden.safetensors");
  const std::string kind(GetParam().name);
  const bool prodigy = kind == "prodigy", lion = kind == "lion", own_schedule = GetParam().own_schedule;
  const double rate = prodigy ? 1 : lion ? 0.01 : 0.02;
  std::map<std::string, Tensor> weights;
  for (const std::string& name : kNames) weights[name] = leaf(golden->read("start." + name));
  std::vector<ParameterGroup> groups = {{"a", {{"matrix", weights["matrix"]}}, rate, 0.1},
                                        {"b", {{"bias", weights["bias"]}, {"kernel", weights["kernel"]}}, prodigy ? rate : rate / 2, 0}};
  OptimizerOptions options;
  options.warmup_steps = own_schedule ? 3 : 0;
  auto optimizer = GetParam().make(groups, options);

  auto compare = [&](const std::string& moment) {
    for (const std::string& name : kNames) {
      const std::string key = kind + "." + moment + "." + name;
      if (!golden->contains(key)) return;
      const Tensor wanted = golden->read(key), start = golden->read("start." + name).to(torch::kDouble),
                   ours = weights[name].detach().to(torch::kDouble);
      const Tensor allowed = torch::maximum(wanted.abs(), start.abs()) * 1e-6 + (wanted - start).abs() * (prodigy ? 2e-4 : 2e-6) + 1e-12;
      EXPECT_TRUE(((ours - wanted).abs() <= allowed).all().item<bool>())
          << key << " differs by " << (ours - wanted).abs().max().item<double>();
    }
  };
  const Tensor factors = golden->read("factors");
  for (int step = 0; step < kSteps; ++step) {
    for (const std::string& name : kNames) {
      // The reference of schedule-free AdamW counts the steps of all parameters together: there, none goes without.
      const bool left_out = name == "bias" && step == 3 && !own_schedule;
      const std::string key = "gradient." + std::to_string(step) + "." + name;
      weights[name].mutable_grad() = left_out ? Tensor() : golden->read(key).clone();
    }
    optimizer->step(own_schedule ? 1 : factors[step].item<double>());
    compare(std::to_string(step));
    if (prodigy) {
      const double d = golden->read("prodigy." + std::to_string(step) + ".d").item<double>();
      EXPECT_NEAR(number_of(*optimizer, "d"), d, d * 2e-4) << step;
    }
  }
  optimizer->begin_evaluation();
  compare("average");
  optimizer->end_evaluation();
  compare(std::to_string(kSteps - 1));
}

TEST_P(ForEachOptimizer, GoesOnFromItsStateToTheBit) {
  TrainedRun through = random_run(GetParam(), 1), stopped = random_run(GetParam(), 1);
  for (int step = 0; step < 3; ++step) {
    draw_gradients(through, step);
    through.optimizer->step(1);
    draw_gradients(stopped, step);
    stopped.optimizer->step(1);
  }
  TrainedRun resumed = random_run(GetParam(), 2);
  {
    torch::NoGradGuard no_grad;
    for (size_t g = 0; g < 2; ++g) {
      for (size_t i = 0; i < 2; ++i) resumed.tensor(g, i).copy_(stopped.tensor(g, i));
    }
  }
  resumed.optimizer->load_state(stopped.optimizer->state());
  for (int step = 3; step < 6; ++step) {
    draw_gradients(through, step);
    through.optimizer->step(0.5);
    draw_gradients(resumed, step);
    resumed.optimizer->step(0.5);
  }
  EXPECT_TRUE(same_bits(through, resumed));
  EXPECT_FALSE(same_bits(through, stopped));
}

TEST_P(ForEachOptimizer, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  std::vector<TrainedRun> runs;
  for (int count : {1, 2, 3}) {
    at::set_num_threads(count);
    runs.push_back(random_run(GetParam(), 1));
    for (int step = 0; step < 3; ++step) {
      draw_gradients(runs.back(), step);
      clip_gradients(runs.back().groups, 1);
      runs.back().optimizer->step(1);
    }
  }
  at::set_num_threads(threads);
  EXPECT_TRUE(same_bits(runs[0], runs[1]));
  EXPECT_TRUE(same_bits(runs[0], runs[2]));
}

TEST_P(ForEachOptimizer, LeavesAParameterWithoutAGradientAlone) {
  TrainedRun run = random_run(GetParam(), 1);
  draw_gradients(run, 1);
  run.tensor(0, 0).mutable_grad() = Tensor();
  const Tensor before = run.tensor(0, 0).detach().clone(), other = run.tensor(1, 0).detach().clone();
  for (int step = 0; step < 2; ++step) run.optimizer->step(1);
  EXPECT_TRUE(torch::equal(run.tensor(0, 0), before));
  EXPECT_FALSE(torch::equal(run.tensor(1, 0), other));
}

TEST_P(ForEachOptimizer, LeavesAGroupOfRateZeroAlone) {
  TrainedRun run = random_run(GetParam(), 1);
  run.groups[0].learning_rate = 0;
  run.optimizer = GetParam().make(run.groups, {});
  const Tensor before = run.tensor(0, 0).detach().clone(), other = run.tensor(1, 0).detach().clone();
  for (int step = 0; step < 2; ++step) {
    draw_gradients(run, step);
    run.optimizer->step(1);
  }
  EXPECT_TRUE(torch::equal(run.tensor(0, 0), before));
  EXPECT_FALSE(torch::equal(run.tensor(1, 0), other));
}

TEST_P(ForEachOptimizer, TakesAnyMemoryLayout) {
  TrainedRun run = random_run(GetParam(), 1), last = random_run(GetParam(), 1);
  last.tensor(1, 0) = leaf(last.tensor(1, 0).detach().contiguous(torch::MemoryFormat::ChannelsLast));
  last.optimizer = GetParam().make(last.groups, {});
  for (int step = 0; step < 3; ++step) {
    draw_gradients(run, step);
    for (size_t g = 0; g < 2; ++g) {
      for (size_t i = 0; i < 2; ++i) last.tensor(g, i).mutable_grad() = run.tensor(g, i).grad().clone();
    }
    // The weights' layout and the gradients' are independent of each other.
    Tensor& odd = step == 1 ? last.tensor(0, 0) : last.tensor(1, 0);
    odd.mutable_grad() = step == 1 ? odd.grad().t().contiguous().t() : odd.grad().contiguous();
    run.optimizer->step(1);
    last.optimizer->step(1);
  }
  for (size_t g = 0; g < 2; ++g) {
    // Sums run in another order: Prodigy's and Adafactor's last bits differ.
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::allclose(run.tensor(g, i), last.tensor(g, i), 1e-5, 1e-7));
  }
}

TEST_P(ForEachOptimizer, ComesNearTheLeastOfAParabola) {
  Tensor x = leaf(torch::tensor({1.0f, -0.5f})), least = torch::tensor({0.3f, 0.2f});
  // Prodigy takes the rate 1, and so many steps, as it starts at a millionth of it; the sign of Lion steps to and fro by its rate.
  const bool prodigy = GetParam().typical_learning_rate == 1;
  std::vector<ParameterGroup> groups = {{"x", {{"x", x}}, prodigy ? 1 : 0.01, 0}};
  auto optimizer = GetParam().make(groups, {});
  for (int step = 0; step < 600; ++step) {
    x.mutable_grad() = 2 * (x.detach() - least);
    optimizer->step(1);
  }
  EvaluationWeights evaluation(*optimizer);
  EXPECT_LT((x - least).abs().max().item<double>(), 0.02);
}

TEST_P(ForEachOptimizer, RefusesTheStateOfAnotherRunAndKeepsItsOwn) {
  TrainedRun run = random_run(GetParam(), 1), same = random_run(GetParam(), 1);
  draw_gradients(run, 1);
  run.optimizer->step(1);
  auto good = run.optimizer->state();
  for (NamedTensor& tensor : good) tensor.tensor = tensor.tensor.clone();
  for (const char* damage : {"missing", "shape", "more"}) {
    auto bad = good;
    for (NamedTensor& tensor : bad) tensor.tensor = tensor.tensor + 1;
    if (std::string(damage) == "missing") bad.pop_back();
    if (std::string(damage) == "shape") bad.back().tensor = torch::zeros({7, 7});
    if (std::string(damage) == "more") bad.push_back({"new", torch::zeros({1})});
    EXPECT_THROW(run.optimizer->load_state(bad), Error) << damage;
  }
  const auto still = run.optimizer->state();
  ASSERT_EQ(still.size(), good.size());
  for (size_t i = 0; i < good.size(); ++i) EXPECT_TRUE(torch::equal(good[i].tensor, still[i].tensor)) << good[i].name;
}

TEST_P(ForEachOptimizer, GivesTheWeightsBackToTheBitAfterAnEvaluation) {
  TrainedRun looked = random_run(GetParam(), 1), plain = random_run(GetParam(), 1);
  for (int step = 0; step < 4; ++step) {
    draw_gradients(looked, step);
    draw_gradients(plain, step);
    looked.optimizer->step(1);
    plain.optimizer->step(1);
    EvaluationWeights evaluation(*looked.optimizer);
  }
  EXPECT_TRUE(same_bits(looked, plain));
}

INSTANTIATE_TEST_SUITE_P(Optimizers, ForEachOptimizer, ::testing::ValuesIn(optimizers().begin(), optimizers().end()), kind_name);

TEST(Optimizers, AreFoundByName) {
  EXPECT_EQ(find_optimizer(" AdamW").name, "adamw");
  try {
    find_optimizer("adamv");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::bad_input);
    EXPECT_NE(error.hint().find("adamw"), std::string::npos);
  }
}

TEST(Optimizers, RefuseWhatCannotBeTrained) {
  const Tensor x = leaf(torch::zeros({2}));
  EXPECT_THROW(find_optimizer("adamw").make({}, {}), Error);
  EXPECT_THROW(find_optimizer("adamw").make({{"x", {{"x", x}}, -1, 0}}, {}), Error);
  EXPECT_THROW(find_optimizer("adamw").make({{"x", {{"x", x}}, std::nan(""), 0}}, {}), Error);
  EXPECT_THROW(find_optimizer("adamw").make({{"x", {{"x", x}, {"x", x}}, 1, 0}}, {}), Error);
  EXPECT_THROW(find_optimizer("adamw").make({{"x", {{"x", x}}, 1, 0}}, betas(1)), Error);
  EXPECT_THROW(find_optimizer("schedule_free_adamw").make({{"x", {{"x", x}}, 1, 0}}, betas(0)), Error);
}

TEST(Optimizers, ProdigyRefusesRatesThatDiffer) {
  const Tensor x = leaf(torch::zeros({2})), y = leaf(torch::zeros({2}));
  EXPECT_THROW(find_optimizer("prodigy").make({{"x", {{"x", x}}, 1, 0}, {"y", {{"y", y}}, 0.5, 0}}, {}), Error);
  EXPECT_NO_THROW(find_optimizer("prodigy").make({{"x", {{"x", x}}, 1, 0}, {"y", {{"y", y}}, 0, 0}}, {}));
}

TEST(Optimizers, ProdigyTellsTheRateThatItTook) {
  Tensor x = leaf(torch::ones({1}));
  auto optimizer = find_optimizer("prodigy").make({{"x", {{"x", x}}, 1, 0}}, {});
  x.mutable_grad() = torch::ones({1});
  double before = number_of(*optimizer, "d");
  for (int step = 0; step < 5; ++step) {
    optimizer->step(0.5);
    EXPECT_DOUBLE_EQ(optimizer->effective_learning_rate(0.5), before / 2);
    before = number_of(*optimizer, "d");
  }
  EXPECT_GT(before, 1e-6);
}

TEST(Optimizers, ScheduleFreeAdamWWarmsUpAndAverages) {
  Tensor x = leaf(torch::zeros({1}));
  OptimizerOptions options;
  options.warmup_steps = 4;
  auto optimizer = find_optimizer("schedule_free_adamw").make({{"x", {{"x", x}}, 0.1, 0}}, options);
  x.mutable_grad() = torch::ones({1});
  for (int step = 0; step < 4; ++step) {
    optimizer->step(1);
    EXPECT_DOUBLE_EQ(optimizer->effective_learning_rate(1), 0.1 * (step + 1) / 4);
  }
  // z after each step, and the average of them, weighted with the squares of the rates: 1, 4, 9, 16.
  const double z[] = {-0.025, -0.075, -0.15, -0.25};
  const double average = (1 * z[0] + 4 * z[1] + 9 * z[2] + 16 * z[3]) / 30;
  EXPECT_NEAR(x.item<double>(), 0.1 * z[3] + 0.9 * average, 1e-6);
  EvaluationWeights evaluation(*optimizer);
  EXPECT_NEAR(x.item<double>(), average, 1e-6);
  EXPECT_THROW(optimizer->step(1), Error);
}

TEST(Optimizers, AdafactorKeepsTheMeansOfAMatrixOnly) {
  const Tensor matrix = leaf(torch::randn({300, 200})), bias = leaf(torch::randn({7}));
  auto optimizer = find_optimizer("adafactor").make({{"x", {{"matrix", matrix}, {"bias", bias}}, 1, 0}}, {});
  int64_t numbers = 0;
  for (const NamedTensor& tensor : optimizer->state()) numbers += tensor.tensor.numel();
  EXPECT_EQ(numbers, 300 + 200 + 7 + 2);  // and a count of steps for each
}

TEST(ClipGradients, ScalesAllGradientsTogether) {
  const Tensor a = leaf(torch::zeros({70000})), b = leaf(torch::zeros({2})), c = leaf(torch::zeros({3}));
  a.mutable_grad() = torch::full({70000}, 0.1f);
  b.mutable_grad() = torch::tensor({3.0f, -4.0f});
  const std::vector<ParameterGroup> groups = {{"x", {{"a", a}, {"c", c}}, 1, 0}, {"y", {{"b", b}}, 1, 0}};
  const double norm = std::sqrt(70000 * 0.01 + 25);
  EXPECT_NEAR(clip_gradients(groups, 0), norm, norm * 1e-6);
  EXPECT_FLOAT_EQ(b.grad()[0].item<float>(), 3);
  EXPECT_NEAR(clip_gradients(groups, 1), norm, norm * 1e-6);
  EXPECT_NEAR(b.grad()[1].item<float>(), -4 / norm, 1e-6);
  EXPECT_NEAR(clip_gradients(groups, 2), 1, 1e-6);  // below the limit: as it is
  EXPECT_FALSE(c.grad().defined());
}

TEST(ClipGradients, LeavesGradientsThatAreNotFiniteForTheCallerToSee) {
  const Tensor a = leaf(torch::zeros({2}));
  a.mutable_grad() = torch::tensor({1.0f, std::nanf("")});
  EXPECT_TRUE(std::isnan(clip_gradients(std::vector<ParameterGroup>{{"x", {{"a", a}}, 1, 0}}, 0.1)));
  EXPECT_EQ(a.grad()[0].item<float>(), 1);
}
