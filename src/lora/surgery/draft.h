// A LoRA file that is to be written: its modules by layer, in kohya's words, and how they become keys of the file in any of the spellings.
// Tensors are made when their turn comes.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "io/safetensors_writer.h"
#include "lora/adapter.h"
#include "lora/naming.h"
#include "lora/reader.h"
#include "lora/surgery/provenance.h"

namespace lorikeet {

struct DraftTensor {
  std::string name;  // of an adapter's tensor: "lora_down.weight"; of what lies outside of modules: the key
  Dtype dtype = torch::kFloat;
  Shape shape;
  std::function<Tensor()> make;  // any dtype; thread-safe
  bool check = true;             // refuse NaN and infinity

  // One that is there already.
  static DraftTensor of(std::string name, const Tensor& tensor, Dtype dtype);
};

struct DraftModule {
  std::vector<DraftTensor> tensors;
  std::string source;  // the module's key in the file that it comes from; the key too where no naming knows the layer
};

struct LoraDraft {
  std::map<std::string, DraftModule> modules;  // by layer path, or a module's own name
  std::vector<DraftTensor> others;             // embeddings, and keys that belong to no module: written as they are
  Metadata metadata;
};

// What the embeddings and strays of `reader` are in a draft.
std::vector<DraftTensor> other_tensors(const LoraReader& reader);
// The module as the file has it; alpha included where it stands beside the file. dtype: of floating tensors but alpha; nothing: as stored.
DraftModule module_as_stored(const LoraReader& reader, const std::string& path, std::optional<Dtype> dtype);

// The naming in which most modules of the file are written; kohya's when none is known.
const LoraNaming& naming_of(const LoraReader& reader);
const LoraNaming& find_lora_naming(std::string_view name);  // Error{bad_input} with the names

// The numbers of a plain LoRA, for the metadata.
struct RankCounts {
  std::map<int64_t, int> ranks;
  std::map<double, int> alphas;
};
RankCounts rank_counts(const LoraDraft& draft);

struct WrittenLora {
  std::vector<std::string> left_out;  // layers that the naming has no word for
  std::vector<std::string> notes;     // for people
};

// Writes the file. Scales become part of the factors where the naming keeps no alpha: as a power of two in `down`, the rest in `up`, so
// that a scale that is a power of two changes no digit. PEFT's adapter_config.json goes beside the file as "STEM.adapter_config.json".
// partial: modules without a word in that naming are left out, else Error{unsupported} names them. Error{bad_input} when a tensor holds
// NaN or infinity, or does when rounded; Error as write_safetensors(); no file is left behind.
WrittenLora write_draft(const std::filesystem::path& path, LoraDraft draft, const LoraNaming& naming, bool partial, Progress& progress);

// Writes what `tensors` make, in windows that are made by all cores at a time; after each, after_window() (to give memory back).
void write_planned(const std::filesystem::path& path, const std::vector<DraftTensor>& tensors, Metadata metadata, Progress& progress,
                   const std::function<void()>& after_window = {});

// Error{bad_input} when `output` is one of the inputs.
void refuse_input_as_output(const std::filesystem::path& output, const std::vector<std::filesystem::path>& inputs);

}  // namespace lorikeet
