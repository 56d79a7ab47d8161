#include "training/objective.h"

#include "base/error.h"
#include "training/batch_source.h"
#include "training/diffusion_loss.h"
#include "training/random.h"
#include "training/slider_objective.h"

namespace lorikeet {
namespace {

// Enough for a deviation to within 1 %: each picture gives hundreds of latent pixels.
constexpr size_t kMomentPictures = 256;

bool is_finite(const Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

// Pictures of one bucket each, at most `most` together, in their order.
std::vector<std::vector<const TrainPicture*>> by_bucket(std::span<const TrainPicture> pictures, size_t most) {
  std::map<size_t, std::vector<std::vector<const TrainPicture*>>> groups;
  for (const TrainPicture& picture : pictures) {
    auto& group = groups[picture.bucket];
    if (group.empty() || group.back().size() == most) group.emplace_back();
    group.back().push_back(&picture);
  }
  std::vector<std::vector<const TrainPicture*>> all;
  for (auto& [bucket, group] : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

class DiffusionObjective : public Objective {
 public:
  DiffusionObjective(Networks& networks, Trainable& trainable, Dataset dataset, const TrainConfig& config, const ObjectiveOptions& options,
                     Progress& progress)
      : networks_(networks),
        trainable_(trainable),
        batch_size_(static_cast<size_t>(config.batch_size)),
        source_(networks, std::move(dataset), config, {trainable.trains_text(), options.cache_folder}, progress),
        loss_(config, networks.noise_schedule, config.prediction.empty() ? *networks.prediction : find_prediction(config.prediction)) {}

  const Dataset& dataset() const override { return source_.dataset(); }

  Tensor loss(std::span<const Draw> draws) override {
    const TrainBatch batch = source_.batch(draws);
    return loss_(batch.loss, predictor(batch)).mean;
  }

  double fixed_loss(std::span<const TrainPicture> pictures) override {
    torch::NoGradGuard no_grad;
    double sum = 0;
    for (const auto& group : by_bucket(pictures, batch_size_)) {
      const TrainBatch batch = source_.fixed_batch(group);
      const PredictNoise predict = predictor(batch);
      for (const int timestep : kValidationTimesteps) {
        sum += loss_.fixed(batch.loss, std::vector<int>(group.size(), timestep), predict).rows.sum().item<double>();
      }
    }
    return sum / static_cast<double>(pictures.size() * kValidationTimesteps.size());
  }

  std::string first_broken_layer(std::span<const Draw> draws) override {
    torch::NoGradGuard no_grad;
    const TrainBatch batch = source_.batch(draws);
    const EncodedTexts texts = encoded(batch);
    if (!is_finite(texts.context)) return "text_encoder";
    std::string broken;
    networks_.unet->trace = [&](const std::string& path, const Tensor& output) {
      if (broken.empty() && !is_finite(output)) broken = path;
    };
    const bool finite = is_finite(loss_(batch.loss, predictor(batch)).mean);
    networks_.unet->trace = nullptr;
    return broken.empty() && !finite ? "unet.conv_out" : broken;
  }

 private:
  EncodedTexts encoded(const TrainBatch& batch) const {
    return batch.encoded.context.defined() ? batch.encoded : source_.encode(batch.texts, trainable_.embedding());
  }

  PredictNoise predictor(const TrainBatch& batch) const {
    const EncodedTexts texts = encoded(batch);
    const Device device = networks_.compute.unet.device;
    return [this, texts, device, time_ids = batch.time_ids](const Tensor& x, const Tensor& timesteps) {
      const Tensor pooled = texts.pooled.defined() ? texts.pooled.to(device) : Tensor{};
      return networks_.unet->forward({x, timesteps, texts.context.to(device), pooled, time_ids}).to(torch::kFloat);
    };
  }

  Networks& networks_;
  Trainable& trainable_;
  size_t batch_size_;
  BatchSource source_;
  DiffusionLoss loss_;
};

class AutoencoderObjective : public Objective {
 public:
  AutoencoderObjective(Networks& networks, Dataset dataset, const TrainConfig& config, Progress& progress)
      : networks_(networks), seed_(static_cast<uint64_t>(config.seed)) {
    // Only looks whether the pictures can be read: nothing is encoded in advance.
    TrainConfig uncached = config;
    uncached.cache_latents = uncached.cache_text = false;
    dataset_ = BatchSource(networks, std::move(dataset), uncached, {.trains_text = true, .cache_folder = {}}, progress).dataset();
  }

  const Dataset& dataset() const override { return dataset_; }

  Tensor loss(std::span<const Draw> draws) override {
    std::vector<Tensor> pixels, noise;
    for (const Draw& draw : draws) {
      const Tensor picture = pixels_of(dataset_.pictures[draw.picture], draw.bucket);
      pixels.push_back(draw.flipped ? picture.flip(2) : picture);
      noise.push_back(normal_tensor(latent_shape(picture), random_bits(seed_, "autoencoder", draw.number)));
    }
    return autoencoder_loss(*networks_.vae, torch::stack(pixels), torch::stack(noise));
  }

  double fixed_loss(std::span<const TrainPicture> pictures) override {
    torch::NoGradGuard no_grad;
    double sum = 0;
    for (const TrainPicture& picture : pictures) {
      const Tensor pixels = pixels_of(picture, picture.bucket);
      sum += autoencoder_loss(*networks_.vae, pixels.unsqueeze(0), torch::zeros(latent_shape(pixels)).unsqueeze(0)).item<double>();
    }
    return sum / static_cast<double>(pictures.size());
  }

  std::string first_broken_layer(std::span<const Draw> draws) override {
    torch::NoGradGuard no_grad;
    const Tensor pixels = pixels_of(dataset_.pictures[draws[0].picture], draws[0].bucket).unsqueeze(0);
    const VaeEncoding encoding = networks_.vae->encode(pixels);
    if (!is_finite(encoding.mean) || !is_finite(encoding.log_variance)) return "vae.encoder";
    return is_finite(networks_.vae->decode(encoding.mean)) ? "" : "vae.decoder";
  }

  std::optional<LatentMoments> latent_moments() override {
    torch::NoGradGuard no_grad;
    const size_t stride = std::max<size_t>(1, dataset_.pictures.size() / kMomentPictures);
    std::vector<Tensor> values;  // [C, h·w] each
    for (size_t i = 0; i < dataset_.pictures.size(); i += stride) {
      const TrainPicture& picture = dataset_.pictures[i];
      values.push_back(networks_.vae->encode(pixels_of(picture, picture.bucket).unsqueeze(0)).mean[0].flatten(1).to(torch::kCPU));
    }
    const Tensor all = torch::cat(values, 1);
    return LatentMoments{all.mean(1), all.std(1)};
  }

 private:
  Tensor pixels_of(const TrainPicture& picture, size_t bucket) const { return read_into_bucket(picture, dataset_.buckets[bucket], false).pixels; }

  Shape latent_shape(const Tensor& pixels) const {
    const VaeConfig& config = networks_.vae->config();
    return {config.latent_channels, pixels.size(1) / config.factor(), pixels.size(2) / config.factor()};
  }

  Networks& networks_;
  Dataset dataset_;
  uint64_t seed_;
};

}  // namespace

std::unique_ptr<Objective> make_objective(Networks& networks, Trainable& trainable, Dataset dataset, const TrainConfig& config,
                                          const ObjectiveOptions& options, Progress& progress) {
  if (config.method == TrainMethod::autoencoder) return std::make_unique<AutoencoderObjective>(networks, std::move(dataset), config, progress);
  if (networks.spec.inpainting()) {
    throw Error(ErrorKind::unsupported, "training on an inpainting checkpoint is not offered",
                "train on the checkpoint that it was made from: the LoRA fits both");
  }
  if (config.method == TrainMethod::slider) return make_slider_objective(networks, trainable, config);
  return std::make_unique<DiffusionObjective>(networks, trainable, std::move(dataset), config, options, progress);
}

}  // namespace lorikeet
