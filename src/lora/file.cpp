#include "lora/file.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "io/hash.h"
#include "lora/naming.h"

namespace lorikeet {
namespace {

constexpr std::string_view kBundle = "bundle_emb.";

// Tensors of these names occur in other files too, so they make no adapter by themselves.
bool is_adapters_own(std::string_view tensor) { return !tensor.empty() && tensor != "weight" && tensor != "alpha" && tensor != "scale"; }

bool is_hash(std::string_view text) {
  // Some tools write the hash of nothing.
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos && !starts_with(text, "e3b0c44298fc");
}

bool looks_like_embedding(const TensorFile& file) {
  const auto& tensors = file.tensors();
  if (tensors.contains("emb_params") || (tensors.contains("clip_l") && tensors.contains("clip_g"))) return true;
  const auto is_param = [](const auto& entry) { return starts_with(entry.first, "string_to_param"); };
  return std::ranges::any_of(tensors, is_param) || (tensors.size() == 1 && tensors.begin()->second.shape.size() <= 2);
}

bool looks_like_checkpoint(const TensorFile& file) {
  for (const auto& [key, entry] : file.tensors())
    for (std::string_view part : {"model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.embedders.",
                                  "down_blocks.", "encoder.layers.", "encoder.down.", "encoder.down_blocks.", "control_model."})
      if (key.find(part) != std::string::npos) return true;
  return false;
}

}  // namespace

std::shared_ptr<const LoraFile> LoraFile::open(const std::filesystem::path& path) {
  return with_context("while reading LoRA " + path.filename().string(),
                      [&] { return std::make_shared<const LoraFile>(TensorFile::open(path)); });
}

LoraFile::LoraFile(std::shared_ptr<const TensorFile> file) : file_(std::move(file)) {
  group();
  check_is_lora();
  const bool is_peft =
      std::ranges::any_of(file_->tensors(), [](const auto& entry) { return entry.first.find(".lora_A") != std::string::npos; });
  if (is_peft) configs_ = read_peft_configs(path(), metadata());
}

void LoraFile::group() {
  for (const auto& [key, entry] : file_->tensors()) {
    if (starts_with(key, kBundle)) {
      const std::string_view rest = std::string_view(key).substr(kBundle.size());
      const size_t dot = rest.find('.');
      if (dot == std::string_view::npos)
        strays_.push_back(key);
      else
        embeddings_[std::string(rest.substr(0, dot))][std::string(rest.substr(dot + 1))] = key;
      continue;
    }
    const auto note = metadata().find(key);
    if (note != metadata().end() && note->second == "<embed>") {
      embeddings_[key]["emb_params"] = key;
      continue;
    }
    LoraKeyParts parts = split_lora_key(key);
    if (parts.tensor.empty())
      strays_.push_back(key);
    else
      modules_[parts.module].push_back({parts.tensor, key, entry.shape});
  }
}

void LoraFile::check_is_lora() const {
  for (const auto& [module, entries] : modules_)
    for (const Entry& entry : entries)
      if (is_adapters_own(entry.tensor)) return;
  if (file_->tensors().empty()) throw Error(ErrorKind::bad_input, "the file holds no tensors", "download or save it again");
  if (looks_like_checkpoint(*file_))
    throw Error(ErrorKind::bad_input, "the file is a checkpoint or a part of one, not a LoRA",
                "give it as the model (-m), not in a <lora:…> tag");
  if (looks_like_embedding(*file_) || !embeddings_.empty())
    throw Error(ErrorKind::bad_input, "the file is a textual-inversion embedding, not a LoRA",
                "put it into the embeddings folder and write its name into the prompt");
  throw Error(ErrorKind::bad_input,
              "the file holds none of the tensors that make a LoRA (first key: " + file_->tensors().begin()->first + ")",
              "see docs/formats.md for the kinds of files that can be read");
}

TensorShapes LoraFile::shapes(const std::string& module) const {
  TensorShapes shapes;
  for (const Entry& entry : modules_.at(module)) shapes[entry.tensor] = entry.shape;
  return shapes;
}

std::vector<NamedTensor> LoraFile::read(const std::string& module) const {
  const auto found = modules_.find(module);
  if (found == modules_.end()) throw Error(ErrorKind::not_found, name() + " has no module " + module);
  std::vector<NamedTensor> tensors;
  int64_t rank = 0;
  bool has_alpha = false;
  for (const Entry& entry : found->second) {
    tensors.push_back({entry.tensor, file_->read(entry.key)});
    has_alpha = has_alpha || entry.tensor == "alpha";
    if ((entry.tensor == "lora_down.weight" || entry.tensor == "lora_embedding_A") && !entry.shape.empty()) rank = entry.shape[0];
  }
  for (const PeftConfig& config : configs_) {
    if (has_alpha || rank == 0 || !config.covers(module)) continue;
    if (const auto alpha = config.alpha(module, rank)) {
      tensors.push_back({"alpha", torch::tensor(*alpha, torch::kFloat)});
      has_alpha = true;
    }
  }
  return tensors;
}

std::map<std::string, std::map<std::string, Tensor>> LoraFile::read_embeddings() const {
  std::map<std::string, std::map<std::string, Tensor>> read;
  for (const auto& [name, tensors] : embeddings_) {
    for (const auto& [tensor, key] : tensors) {
      const Tensor vectors = file_->read(key);
      read[name][tensor] = vectors.dim() == 1 ? vectors.unsqueeze(0) : vectors;  // always [vectors, width]
    }
  }
  return read;
}

bool LoraFile::is_embedding(std::string_view key) const {
  for (const auto& [name, tensors] : embeddings_)
    for (const auto& [tensor, own] : tensors)
      if (own == key) return true;
  return starts_with(key, kBundle);
}

const std::string& LoraFile::hash() const {
  std::call_once(hashed_, [&] {
    const auto stated = metadata().find("sshs_model_hash");
    hash_ = stated != metadata().end() && is_hash(stated->second) ? stated->second : auto_v3(path());
  });
  return hash_;
}

}  // namespace lorikeet
