#include "demo/judge.h"

#include <atomic>
#include <thread>

#include "base/torch_nn.h"
#include "io/image.h"
#include "painter/paint.h"

namespace lorikeet::demo {

namespace nn = torch::nn;
using painter::Scene;

namespace {
constexpr int kPaintedPx = 128, kSeenPx = 64;
constexpr int64_t kBatch = 64;

size_t index_of(const painter::Thing* thing) {
  const auto things = painter::things(), subjects = painter::subjects();
  for (size_t i = 0; i < things.size(); ++i)
    if (&things[i] == thing) return i;
  return things.size() + static_cast<size_t>(thing - subjects.data());
}

// Grey by design, or of one colour: nothing in them tells which colour a thing has.
bool is_colourless(const painter::Style& style) { return style.name == "sketch" || style.name == "blueprint"; }

// [3, H, W] 0..1 -> [3, 64, 64], -1..1
Tensor seen(const Picture& picture) {
  const Tensor image = image_of(picture).unsqueeze(0);
  return torch::nn::functional::interpolate(
             image, torch::nn::functional::InterpolateFuncOptions().size(std::vector<int64_t>{kSeenPx, kSeenPx}).mode(torch::kArea))
                 .squeeze(0) *
             2 -
         1;
}

Sample painted_sample(uint64_t seed, uint64_t index) {
  painter::Random random(seed, index + (uint64_t{1} << 40));
  painter::Wishes wishes;
  if (random.chance(1.0 / 12)) {
    wishes.subject = std::string(painter::subjects()[random.below(painter::subjects().size())].name);
  } else {
    const double u = random.uniform();
    if (u < .04)
      wishes.held_out = true;
    else
      wishes.composition = u < .35 ? "single" : u < .45 ? "count" : "pair";
  }
  const auto styles = painter::styles();
  const painter::Style& style = random.chance(.5) ? styles[0] : styles[random.below(styles.size())];
  const Scene scene = painter::make_scene(seed, index, wishes);
  return {painter::paint(scene, style, kPaintedPx), facts_of(scene, style)};
}

// Softer, noisier, lighter or darker, a little aside: what a generated picture may be and a painted one is not.
Tensor disturbed(Tensor x, const at::Generator& generator) {
  const auto uniform = [&](double low, double high) { return torch::rand({x.size(0), 1, 1, 1}, generator) * (high - low) + low; };
  const Tensor soft =
      torch::avg_pool2d(torch::nn::functional::pad(x, torch::nn::functional::PadFuncOptions({1, 1, 1, 1}).mode(torch::kReplicate)), 3, 1);
  x = torch::lerp(x, soft, uniform(0, 1));
  x = x * uniform(.9, 1.1) + uniform(-.08, .08) + torch::randn(x.sizes(), generator) * uniform(0, .08);
  const auto shift = torch::randint(-3, 4, {2}, generator);
  return torch::roll(x, {shift[0].item<int64_t>(), shift[1].item<int64_t>()}, {2, 3});
}

void add_stage(nn::Sequential& body, int64_t in, int64_t out) {
  body->push_back(nn::Conv2d(nn::Conv2dOptions(in, out, 3).stride(2).padding(1)));
  body->push_back(nn::GroupNorm(nn::GroupNormOptions(8, out)));
  body->push_back(nn::ReLU());
}

Tensor loss_of(const std::vector<Tensor>& answers, const Tensor& facts) {
  Tensor sum = torch::zeros({});
  for (size_t fact = 0; fact < kFacts; ++fact) {
    const Tensor truth = facts.select(1, static_cast<int64_t>(fact));
    if ((truth >= 0).any().item<bool>())
      sum = sum + nn::functional::cross_entropy(answers[fact], truth, nn::functional::CrossEntropyFuncOptions().ignore_index(-1));
  }
  return sum;
}
}  // namespace

size_t answers(Fact fact) {
  switch (fact) {
    case Fact::thing:
    case Fact::second_thing: return painter::things().size() + painter::subjects().size();
    case Fact::colour:
    case Fact::second_colour: return painter::kColourCount;
    case Fact::setting: return painter::settings().size();
    case Fact::style: return painter::styles().size();
    case Fact::count:
    case Fact::layout: return 3;
  }
  return 0;
}

Facts facts_of(const Scene& scene, const painter::Style& style) {
  using painter::Relation;
  const bool is_pair = scene.groups.size() > 1;
  const bool turned = scene.relation == Relation::right_of || scene.relation == Relation::below;
  const painter::Group &first = scene.groups[turned ? 1 : 0], &second = scene.groups[is_pair && !turned ? 1 : 0];
  const auto colour_of = [&](const painter::Group& group) {
    const bool own_design = index_of(group.thing) >= painter::things().size();
    return own_design || is_colourless(style) ? -1 : static_cast<int64_t>(group.colour);
  };
  const bool aside = scene.relation == Relation::left_of || scene.relation == Relation::right_of;
  const Layout layout = !is_pair ? Layout::no_pair : aside ? Layout::side_by_side : Layout::one_above_the_other;
  Facts facts;
  facts[static_cast<size_t>(Fact::thing)] = static_cast<int64_t>(index_of(first.thing));
  facts[static_cast<size_t>(Fact::colour)] = colour_of(first);
  facts[static_cast<size_t>(Fact::setting)] = static_cast<int64_t>(scene.setting);
  facts[static_cast<size_t>(Fact::style)] = &style - painter::styles().data();
  facts[static_cast<size_t>(Fact::count)] = is_pair ? -1 : first.count - 1;
  facts[static_cast<size_t>(Fact::layout)] = static_cast<int64_t>(layout);
  facts[static_cast<size_t>(Fact::second_thing)] = is_pair ? static_cast<int64_t>(index_of(second.thing)) : -1;
  facts[static_cast<size_t>(Fact::second_colour)] = is_pair ? colour_of(second) : -1;
  return facts;
}

std::vector<Sample> painted_samples(uint64_t seed, size_t count) {
  std::vector<Sample> samples(count);
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) samples[i] = painted_sample(seed, i);
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) threads.emplace_back(work);
  threads.clear();  // waits for them
  return samples;
}

// Four strided convolutions, then one linear layer for each fact.
struct Judge::Network {
  nn::Sequential body;
  std::vector<nn::Linear> heads;
  Network() {
    constexpr int64_t kChannels[] = {3, 32, 48, 96, 128};
    for (size_t i = 0; i + 1 < std::size(kChannels); ++i) add_stage(body, kChannels[i], kChannels[i + 1]);
    body->push_back(nn::Flatten());
    body->push_back(nn::Dropout(nn::DropoutOptions(.2)));
    for (size_t fact = 0; fact < kFacts; ++fact)
      heads.emplace_back(128 * (kSeenPx / 16) * (kSeenPx / 16), static_cast<int64_t>(answers(static_cast<Fact>(fact))));
  }
  std::vector<Tensor> parameters() const {
    std::vector<Tensor> all = body->parameters();
    for (const auto& head : heads)
      for (const auto& parameter : head->parameters()) all.push_back(parameter);
    return all;
  }
  // x: [B, 3, 64, 64] -> for each fact [B, answers]
  std::vector<Tensor> operator()(const Tensor& x) {
    const Tensor hidden = body->forward(x);
    std::vector<Tensor> result;
    for (auto& head : heads) result.push_back(head->forward(hidden));
    return result;
  }
};

Judge::Judge(const JudgeOptions& options, const std::function<void(double)>& tell) {
  torch::manual_seed(options.seed);
  network_ = std::make_unique<Network>();
  std::vector<Tensor> rows, facts;
  for (const Sample& sample : painted_samples(options.seed, static_cast<size_t>(options.pictures))) {
    rows.push_back(seen(sample.picture));
    facts.push_back(torch::tensor(std::vector<int64_t>(sample.facts.begin(), sample.facts.end())));
  }
  const Tensor pictures = torch::stack(rows), truth = torch::stack(facts);
  rows.clear();

  const int64_t batches = options.pictures / kBatch, all = batches * options.rounds;
  constexpr double kLearningRate = 2e-3;  // one cycle of a cosine from here down to 0
  torch::optim::AdamW optimiser(network_->parameters(), torch::optim::AdamWOptions(kLearningRate).weight_decay(.02));
  at::Generator generator = at::detail::createCPUGenerator(options.seed);
  network_->body->train();
  Tensor order;
  for (int64_t i = 0; i < all; ++i) {
    if (i % batches == 0) order = torch::randperm(options.pictures, generator);
    const Tensor chosen = order.slice(0, i % batches * kBatch, (i % batches + 1) * kBatch);
    for (auto& group : optimiser.param_groups())
      static_cast<torch::optim::AdamWOptions&>(group.options())
          .lr(kLearningRate * .5 * (1 + std::cos(M_PI * static_cast<double>(i) / static_cast<double>(all))));
    optimiser.zero_grad();
    loss_of((*network_)(disturbed(pictures.index_select(0, chosen), generator)), truth.index_select(0, chosen)).backward();
    optimiser.step();
    if (i % 20 == 0) tell(static_cast<double>(i) / static_cast<double>(all));
  }
  network_->body->eval();
}

Judge::~Judge() = default;

std::vector<Verdict> Judge::judge(std::span<const Picture> pictures) const {
  torch::NoGradGuard no_grad;
  std::vector<Verdict> verdicts;
  for (const Picture& picture : pictures) {
    const auto answers = (*network_)(seen(picture).unsqueeze(0));
    Verdict verdict;
    for (size_t fact = 0; fact < kFacts; ++fact) {
      const Tensor probability = torch::softmax(answers[fact][0], 0).contiguous();
      verdict.most_likely[fact] = probability.argmax().item<int64_t>();
      verdict.probability[fact].assign(probability.data_ptr<float>(), probability.data_ptr<float>() + probability.numel());
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace lorikeet::demo
