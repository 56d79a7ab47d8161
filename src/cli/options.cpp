#include "cli/options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"

namespace fs = std::filesystem;

namespace lorikeet {

namespace {
std::optional<fs::path> default_models() {
  if (const char* variable = std::getenv("LORIKEET_MODELS"); variable && *variable) return fs::path(variable);
  std::error_code code;
  const fs::path program = fs::read_symlink("/proc/self/exe", code).parent_path();
  for (const fs::path& path : {fs::path("models"), program / "models", program.parent_path() / "models"})
    if (fs::is_directory(path, code)) return path;
  return std::nullopt;
}
}  // namespace

void add_folder_options(CLI::App& app, FolderOptions& options) {
  const auto add = [&](const char* flag, std::vector<std::string>& to, const char* help) {
    app.add_option(flag, to, help)->group("Models")->type_name("DIR")->allow_extra_args(false);
  };
  add("--models", options.models, "A models folder in A1111's or ComfyUI's layout; may be given several times.");
  add("--checkpoint-dir", options.checkpoint_dirs, "One more folder of checkpoints.");
  add("--lora-dir", options.lora_dirs, "One more folder of LoRAs.");
  add("--embedding-dir", options.embedding_dirs, "One more folder of embeddings.");
  add("--vae-dir", options.vae_dirs, "One more folder of VAEs.");
}

void add_device_options(CLI::App& app, DeviceOptions& options) {
  app.add_option("--device", options.device, "auto, cpu, cuda or cuda:N.")->group("Device")->type_name("DEVICE")->capture_default_str();
  app.add_option("--precision", options.precision, "auto, f32, bf16 or f16.")->group("Device")->type_name("DTYPE")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads of the CPU; 0: one a core.")
      ->group("Device")
      ->type_name("N")
      ->check(CLI::Range(0, 1024).description(""))
      ->capture_default_str();
}

ModelFolders open_folders(const FolderOptions& options) {
  ModelFolders folders;
  for (const auto& root : options.models) folders.add_root(root);
  if (const auto root = options.models.empty() ? default_models() : std::nullopt) folders.add_root(*root);
  const std::pair<ModelKind, const std::vector<std::string>*> single[] = {{ModelKind::checkpoint, &options.checkpoint_dirs},
                                                                          {ModelKind::lora, &options.lora_dirs},
                                                                          {ModelKind::embedding, &options.embedding_dirs},
                                                                          {ModelKind::vae, &options.vae_dirs}};
  for (const auto& [kind, paths] : single)
    for (const auto& path : *paths) folders.add_folder(kind, path);
  return folders;
}

FoundModel find_checkpoint(const ModelFolders& folders, const std::string& name) {
  if (!name.empty()) return folders.find(ModelKind::checkpoint, name, true);
  const auto all = folders.list(ModelKind::checkpoint);
  if (all.size() == 1) return {all[0], {}};
  if (all.empty()) {
    std::vector<std::string> places;
    for (const fs::path& place : folders.places(ModelKind::checkpoint)) places.push_back(place.string());
    const std::string looked = places.empty() ? "no folder of checkpoints was found (looked for models/ here and beside the program)"
                                              : "looked in " + join(places, ", ");
    throw Error(ErrorKind::not_found, "there is no checkpoint to make pictures with: " + looked,
                "put a Stable Diffusion checkpoint (.safetensors) into models/checkpoints/, name your models folder with --models DIR, or "
                "a file with "
                "--model FILE; \"./run demo\" in Lorikeet's source folder makes a first picture without any");
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < all.size() && i < 12; ++i) names.push_back(all[i].name);
  throw Error(ErrorKind::bad_input, "there are " + std::to_string(all.size()) + " checkpoints; choose one with --model",
              "there are " + join(names, ", ") + (all.size() > names.size() ? ", …" : ""));
}

}  // namespace lorikeet
