#include "library/facts.h"

#include <algorithm>
#include <new>

#include "base/error.h"
#include "base/text.h"
#include "io/tensor_file.h"
#include "model/spec.h"
#include "prompt/embedding_file.h"

namespace lorikeet {
namespace {

void count_tensors(FileFacts& facts, const std::map<std::string, TensorEntry>& tensors) {
  std::map<std::string, int64_t> numbers;
  for (const auto& [name, entry] : tensors) {
    int64_t count = 1;
    for (const int64_t side : entry.shape) count *= side;
    numbers[entry.stored_dtype] += count;
  }
  facts.tensors += static_cast<int64_t>(tensors.size());
  const auto most = std::ranges::max_element(numbers, {}, [](const auto& row) { return row.second; });
  if (most != numbers.end()) facts.dtype = most->first;
}

void read_lora(FileFacts& facts, const std::filesystem::path& path) {
  const LoraFile file(TensorFile::open_header(path));
  facts.lora = file.summary();
  facts.family = facts.lora->family;
  facts.claim = facts.lora->claimed_base;
  facts.metadata = file.metadata();
  count_tensors(facts, file.tensors());
}

void read_checkpoint(FileFacts& facts, const std::filesystem::path& path) {
  const auto checkpoint = Checkpoint::open(path);
  for (const auto& file : checkpoint->files()) {
    count_tensors(facts, file->tensors());
    facts.metadata.insert(file->metadata().begin(), file->metadata().end());
  }
  facts.claim = metadata_text(facts.metadata, "modelspec.architecture");
  facts.dtype = checkpoint->stored_dtype();
  const ModelSpec spec = recognise_model(*checkpoint);
  facts.family = spec.family;
  facts.native_size_px = spec.native_size_px;
}

void read_embedding(FileFacts& facts, const std::filesystem::path& path) {
  const auto embeddings = read_embedding_file(path);
  int64_t vectors = 0, width = 0;
  bool two = false;
  for (const Embedding& embedding : embeddings) {
    vectors += embedding.count();
    facts.tensors += static_cast<int64_t>(embedding.vectors.size());
    two = two || embedding.vectors.size() > 1;
    if (!embedding.vectors.empty()) width = embedding.vectors[0].size(1);
  }
  facts.vectors = vectors;
  // The widths of CLIP-L and OpenCLIP-H; SDXL takes CLIP-L's and OpenCLIP-bigG's together.
  facts.family = two ? "sdxl" : width == 768 ? "sd1" : width == 1024 ? "sd2" : "";
  if (is_picture(path)) return;
  const auto file = TensorFile::open_header(path);
  facts.metadata = file->metadata();
  facts.claim = metadata_text(facts.metadata, "sd_checkpoint_name");
  count_tensors(facts, file->tensors());
  facts.tensors = static_cast<int64_t>(file->tensors().size());
}

void read_vae(FileFacts& facts, const std::filesystem::path& path) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) return;  // recognised by its config.json
  const auto file = TensorFile::open_header(path);
  const auto is_decoder = [](const auto& entry) { return entry.first.find("decoder.") != std::string::npos; };
  if (std::ranges::none_of(file->tensors(), is_decoder))
    throw Error(ErrorKind::bad_input, "the file is no VAE: it has no decoder", "look whether it belongs into another folder");
  facts.metadata = file->metadata();
  count_tensors(facts, file->tensors());
}

// Without the folder: cards are shown to people who do not know this machine.
std::string text_of(const Error& error, const std::filesystem::path& path) {
  const std::string text = error.hint().empty() ? error.message() : error.message() + " (" + error.hint() + ")";
  return valid_utf8(replace_all(text, path.parent_path().string() + "/", ""));
}

}  // namespace

std::string metadata_text(const std::map<std::string, std::string>& metadata, const std::string& key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : valid_utf8(found->second);
}

std::string family_of_words(std::string_view words) {
  struct Word {
    std::string_view part, family;
  };
  // Civitai's base models, A1111's "sd version", kohya's ss_base_model_version, Stability's modelspec.architecture. The first that occurs.
  constexpr Word kWords[] = {{"flux", "flux"},          {"xl", "sdxl"},  {"pony", "sdxl"},   {"illustrious", "sdxl"}, {"noobai", "sdxl"},
                             {"sd3", "sd3"},            {"sd 3", "sd3"}, {"diffusion-3", "sd3"}, {"sd1", "sd1"},         {"sd 1", "sd1"},
                             {"sd_v1", "sd1"},          {"sdv1", "sd1"}, {"diffusion-v1", "sd1"}, {"sd2", "sd2"},        {"sd 2", "sd2"},
                             {"sd_v2", "sd2"},          {"sdv2", "sd2"}, {"diffusion-v2", "sd2"}};
  const std::string low = lower(words);
  for (const Word& word : kWords)
    if (low.find(word.part) != std::string::npos) return std::string(word.family);
  return {};
}

FileFacts read_facts(const ModelFile& file) {
  constexpr void (*kReaders[])(FileFacts&, const std::filesystem::path&) = {read_checkpoint, read_lora, read_embedding, read_vae};
  FileFacts facts;
  try {
    kReaders[static_cast<size_t>(file.kind)](facts, file.path);
  } catch (const Error& error) {
    facts = {};
    facts.error = text_of(error, file.path);
  } catch (const std::bad_alloc&) {
    facts = {};
    facts.error = "the header does not fit into memory";
  } catch (const std::exception& error) {
    facts = {};
    facts.error = valid_utf8(error.what());
  }
  return facts;
}

}  // namespace lorikeet
