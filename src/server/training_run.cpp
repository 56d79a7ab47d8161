#include "server/training_run.h"

#include "generate/engine.h"
#include "generate/generate.h"

namespace fs = std::filesystem;

namespace lorikeet {

ModelKind model_kind_of(TrainMethod method) {
  switch (method) {
    case TrainMethod::textual_inversion: return ModelKind::embedding;
    case TrainMethod::full:
    case TrainMethod::autoencoder: return ModelKind::checkpoint;
    default: return ModelKind::lora;
  }
}

std::vector<Picture> sample_pictures(const SampleRequest& wanted, const ModelFolders& folders, const Progress& progress) {
  Engine engine({.checkpoint = wanted.networks->checkpoint->path(), .folders = folders}, wanted.networks);
  if (wanted.embedding) engine.add_embedding(*wanted.embedding);
  std::vector<Picture> pictures;
  for (const int64_t seed : wanted.seeds) {
    Request request;
    request.prompts = {wanted.prompt};
    request.seed = seed;
    request.width = wanted.width_px;
    request.height = wanted.height_px;
    Progress quiet;
    for (auto& made : generate(engine, request, quiet).pictures) pictures.push_back(std::move(made.picture));
    progress.check();
  }
  return pictures;
}

fs::path install_trained(const fs::path& file, TrainMethod method, const ModelFolders& folders, bool number) {
  const auto& places = folders.places(model_kind_of(method));
  if (places.empty()) return {};
  fs::path target = places.front() / file.filename();
  std::error_code ignored;
  for (int n = 2; fs::exists(target, ignored); ++n) {
    if (!number) return {};
    target = places.front() / (file.stem().string() + "-" + std::to_string(n) + file.extension().string());
  }
  fs::create_directories(target.parent_path());
  const fs::path part = target.string() + ".part";
  fs::copy_file(file, part, fs::copy_options::overwrite_existing);
  fs::rename(part, target);
  return target;
}

}  // namespace lorikeet
