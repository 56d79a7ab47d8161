#include "training/slider_objective.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "training/random.h"
#include "training/text_source.h"

namespace lorikeet {
namespace {

// The authors' guidance on the way to x (scripts/textsliders/train_lora.py: guidance_scale=3).
constexpr double kWalkGuidance = 3;
// What counts as an epoch: the last so many rows make the mean loss that a run reports.
constexpr int kRowsPerEpoch = 100;

// Points of several rows, each at its own timestep.
struct Points {
  Tensor x;                      // [B, C, h, w] float32 in sigma units
  std::vector<float> timesteps;  // B; may be fractional
};

// What the answer at some points is to be: base + m · direction.
struct Question {
  Points at;
  Tensor base, direction;  // [B, C, h, w] float32
};

Dataset noises(const TrainConfig& config) {
  Dataset dataset;
  dataset.buckets.push_back({config.width, config.height});
  for (int i = 0; i < kRowsPerEpoch; ++i) {
    TrainPicture& row = dataset.pictures.emplace_back();
    row.caption = config.slider_target;
    row.width_px = config.width, row.height_px = config.height;
    row.content_hash = "noise " + std::to_string(i);
  }
  return dataset;
}

Shape latent_shape(const Networks& networks, const TrainConfig& config) {
  const int64_t factor = networks.vae->config().factor(), levels = static_cast<int64_t>(networks.spec.unet.channels.size());
  const int64_t step = factor << (levels - 1);  // the deepest level has whole pixels
  if (config.width % step != 0 || config.height % step != 0)
    throw Error(ErrorKind::bad_input,
                "width " + std::to_string(config.width) + " and height " + std::to_string(config.height) + " are no sides for this model",
                "take multiples of " + std::to_string(step));
  return {networks.vae->config().latent_channels, config.height / factor, config.width / factor};
}

class SliderObjective : public Objective {
 public:
  SliderObjective(Networks& networks, Trainable& trainable, const TrainConfig& config)
      : networks_(networks),
        trainable_(trainable),
        config_(config),
        prediction_(config.prediction.empty() ? *networks.prediction : find_prediction(config.prediction)),
        latent_(latent_shape(networks, config)),
        texts_(networks, config, {}),
        dataset_(noises(config)) {
    const int last = networks.noise_schedule.timesteps() - 1;
    if (config.timestep_most > last)
      throw Error(ErrorKind::bad_input, "timestep_most is " + std::to_string(config.timestep_most) + ", but the model has 0 to " + std::to_string(last));
    std::vector<std::string> preserved = config.slider_preserve;
    if (preserved.empty()) preserved.emplace_back();
    for (const std::string& p : preserved) ends_.push_back({with(config.slider_positive, p), with(config.slider_negative, p)});
    encode_all();
  }

  const Dataset& dataset() const override { return dataset_; }

  Tensor loss(std::span<const Draw> draws) override {
    const double multiplier = draws[0].batch % 2 == 0 ? 1 : -1;
    const Question question = question_of(draws, multiplier);
    trainable_.set_multiplier(multiplier);
    return error(question, multiplier);
  }

  double fixed_loss(std::span<const TrainPicture> rows) override {
    torch::NoGradGuard no_grad;
    double sum = 0;
    for (const TrainPicture& row : rows)
      for (const Question& question : fixed_questions(row))
        for (const double multiplier : {1.0, -1.0}) {
          trainable_.set_multiplier(multiplier);
          sum += error(question, multiplier).item<double>();
        }
    trainable_.set_multiplier(1);
    return sum / static_cast<double>(rows.size() * kValidationTimesteps.size() * 2);
  }

  std::string first_broken_layer(std::span<const Draw> draws) override {
    torch::NoGradGuard no_grad;
    std::string broken;
    networks_.unet->trace = [&](const std::string& path, const Tensor& output) {
      if (broken.empty() && !torch::isfinite(output).all().item<bool>()) broken = path;
    };
    const bool finite = torch::isfinite(loss(draws)).all().item<bool>();
    networks_.unet->trace = nullptr;
    return broken.empty() && !finite ? "unet.conv_out" : broken;
  }

 private:
  struct Ends {
    std::string positive, negative;
  };

  static std::string with(const std::string& prompt, const std::string& preserved) { return preserved.empty() ? prompt : prompt + ", " + preserved; }

  void encode_all() {
    std::vector<std::string> prompts{"", config_.slider_target, config_.slider_neutral};
    for (const Ends& ends : ends_) prompts.insert(prompts.end(), {ends.positive, ends.negative});
    for (const std::string& prompt : prompts) {
      if (encoded_.contains(prompt)) continue;
      if (is_too_long(prompt)) dataset_.warnings.push_back("of the prompt \"" + prompt + "\" only the beginning is used: it is too long");
      const EncodedTexts text = texts_.encode(std::span(&prompt, 1));
      const Device device = networks_.compute.unet.device;
      encoded_[prompt] = {text.context.to(device), text.pooled.defined() ? text.pooled.to(device) : Tensor()};
    }
  }

  // [B] on the device of x
  Tensor sigmas(const Points& at) const {
    std::vector<float> values;
    for (const float timestep : at.timesteps) values.push_back(networks_.noise_schedule.sigma(timestep));
    return torch::tensor(values).to(at.x.device());
  }

  // The network's answer to a prompt, with the LoRA as it is set. -> [B, C, h, w] float32
  Tensor answer(const Points& at, const std::string& prompt) const {
    const EncodedTexts& text = encoded_.at(prompt);
    const int64_t rows = at.x.size(0);
    UNetInput input;
    input.x = at.x * per_picture(prediction_.input_scale(sigmas(at)), at.x);
    input.timestep = torch::tensor(at.timesteps).to(at.x.device());
    input.context = text.context.expand({rows, -1, -1});
    if (networks_.spec.pooled) {
      const auto h = static_cast<float>(config_.height), w = static_cast<float>(config_.width);
      input.pooled = text.pooled.expand({rows, -1});
      input.time_ids = torch::tensor({h, w, 0.0F, 0.0F, h, w}).to(at.x.device()).expand({rows, 6});
    }
    return networks_.unet->forward(input).to(torch::kFloat);
  }

  // A step of Euler's along the noise that the guided network sees, which is DDIM's (Song et al. 2020, arXiv 2010.02502, eq. 12).
  Points stepped(const Points& at, const std::vector<float>& to) const {
    const Tensor without = answer(at, ""), sigma = per_picture(sigmas(at), at.x);
    const Tensor x0 = prediction_.to_x0(at.x, without + kWalkGuidance * (answer(at, config_.slider_target) - without), sigmas(at));
    const Points there{at.x, to};
    return {at.x + (at.x - x0) / sigma * (per_picture(sigmas(there), at.x) - sigma), to};
  }

  // From noise to the timestep of each row. One by one, as their numbers of steps differ: a row comes to the same point in whatever batch
  // it is.
  Points walk(const std::vector<uint64_t>& random, const std::vector<float>& timesteps) const {
    const auto last = static_cast<float>(networks_.noise_schedule.timesteps() - 1);
    std::vector<Tensor> ends;
    for (size_t i = 0; i < random.size(); ++i) {
      Points at{normal_tensor(latent_, random_bits(random[i], "noise", 0)).unsqueeze(0).to(networks_.compute.unet.device), {last}};
      const Tensor sigma = sigmas(at);
      at.x = at.x * (sigma * sigma + 1).sqrt();  // the network sees unit noise
      for (int step = 1; at.timesteps[0] > timesteps[i]; ++step) {
        const float next = last * (1 - static_cast<float>(step) / static_cast<float>(config_.denoising_steps));
        at = stepped(at, {std::max(next, timesteps[i])});
      }
      ends.push_back(at.x);
    }
    return {torch::cat(ends), timesteps};
  }

  Question ask(const std::vector<uint64_t>& random, const std::vector<float>& timesteps, double walk_multiplier) {
    torch::NoGradGuard no_grad;
    trainable_.set_multiplier(walk_multiplier);
    const Points at = walk(random, timesteps);
    trainable_.set_multiplier(0);
    Tensor direction = torch::zeros_like(at.x);
    for (const Ends& ends : ends_) direction += answer(at, ends.positive) - answer(at, ends.negative);
    return {at, answer(at, config_.slider_neutral), direction * (config_.slider_strength / static_cast<double>(ends_.size()))};
  }

  Question question_of(std::span<const Draw> draws, double multiplier) {
    std::vector<uint64_t> random;
    std::vector<float> timesteps;
    for (const Draw& draw : draws) {
      random.push_back(random_bits(static_cast<uint64_t>(config_.seed), "slider", draw.number));
      const int64_t count = config_.timestep_most - config_.timestep_least + 1;
      timesteps.push_back(static_cast<float>(config_.timestep_least + below(random_bits(random.back(), "timestep", 0), count)));
    }
    return ask(random, timesteps, multiplier);
  }

  // They never change: the base model's alone.
  const std::vector<Question>& fixed_questions(const TrainPicture& row) {
    std::vector<Question>& questions = fixed_[row.content_hash];
    if (questions.empty())
      for (const int timestep : kValidationTimesteps)
        questions.push_back(ask({random_bits(static_cast<uint64_t>(config_.seed), row.content_hash, 0)}, {static_cast<float>(timestep)}, 0));
    return questions;
  }

  Tensor error(const Question& question, double multiplier) const {
    return (answer(question.at, config_.slider_target) - (question.base + question.direction * multiplier)).square().mean();
  }

  Networks& networks_;
  Trainable& trainable_;
  TrainConfig config_;
  const Prediction& prediction_;
  Shape latent_;
  TextSource texts_;
  Dataset dataset_;
  std::vector<Ends> ends_;  // one for each preserved concept, or one
  std::map<std::string, EncodedTexts> encoded_;
  std::map<std::string, std::vector<Question>> fixed_;
};

}  // namespace

std::unique_ptr<Objective> make_slider_objective(Networks& networks, Trainable& trainable, const TrainConfig& config) {
  return std::make_unique<SliderObjective>(networks, trainable, config);
}

}  // namespace lorikeet
