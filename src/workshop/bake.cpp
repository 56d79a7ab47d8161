#include "workshop/bake.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/apply.h"
#include "lora/surgery/draft.h"
#include "lora/surgery/option_words.h"

namespace lorikeet {

namespace fs = std::filesystem;

namespace {

// A layer's weight or bias inside of a stored tensor.
struct Place {
  std::string path;
  bool bias = false;
  int part = -1;
  bool transposed = false;
};

using Places = std::map<std::pair<const TensorFile*, std::string>, std::vector<Place>>;

class Baking {
 public:
  Baking(const Checkpoint& checkpoint, const LayerMap& layers, std::span<const MixInput> inputs, const BakeOptions& options)
      : checkpoint_(checkpoint), layers_(layers), inputs_(inputs), options_(options) {
    find_places();
  }

  const BakeResult& result() const { return result_; }

  // Everything in one of the checkpoint's files.
  std::vector<DraftTensor> tensors_of(const TensorFile& file) {
    std::vector<DraftTensor> tensors;
    for (const auto& [key, entry] : file.tensors()) {
      const bool floating = torch::isFloatingType(entry.dtype);
      const Dtype dtype = floating ? options_.dtype.value_or(entry.dtype) : entry.dtype;
      if (starts_with(entry.stored_dtype, "F8")) ++in_8_bits_;
      const auto places = places_.find({&file, key});
      if (places == places_.end()) {
        tensors.push_back({key, dtype, entry.shape, entry.view, /*check=*/false});
        continue;
      }
      tensors.push_back({key, dtype, entry.shape, [this, view = entry.view, &all = places->second] { return changed(view(), all); }, true});
    }
    return tensors;
  }

  void release_pages() const {
    checkpoint_.release_pages();
    for (const MixInput& input : inputs_) input.reader->file().release_pages();
  }

  Metadata metadata_of(const TensorFile& file, const fs::path& source) const {
    Metadata metadata = file.metadata();
    std::vector<nlohmann::ordered_json> all{history_input(source, file.metadata())};
    for (const MixInput& input : inputs_) {
      all.push_back(history_input(input.reader->file().path(), input.reader->file().metadata()));
      all.back()["te"] = input.te;
      all.back()["unet"] = input.unet;
      if (!input.blocks.text().empty()) all.back()["blocks"] = input.blocks.text();
    }
    nlohmann::ordered_json words = nlohmann::ordered_json::object();
    if (options_.dtype) words["dtype"] = dtype_word(*options_.dtype);
    add_history(metadata, "bake", std::move(all), std::move(words));
    const bool has_spec = std::ranges::any_of(metadata, [](const auto& entry) { return starts_with(entry.first, "modelspec."); });
    if (has_spec) metadata[std::string(kSpecHash)] = "";
    return metadata;
  }

  void note_losses() {
    if (in_8_bits_ > 0 && !options_.dtype)
      result_.notes.push_back(std::to_string(in_8_bits_) + " tensors of 8-bit numbers are written as float16");
    for (const MixInput& input : inputs_) {
      const auto embeddings = input.reader->file().summary().embeddings;
      if (!embeddings.empty())
        result_.notes.push_back("the embeddings of " + input.reader->report().name + " (" + join(embeddings, ", ") +
                                ") are no part of a checkpoint");
      for (const std::string& module : input.reader->report().unmatched)
        result_.notes.push_back(input.reader->report().name + ": " + module + " fits no layer");
    }
  }

 private:
  double multiplier(const MixInput& input, const std::string& path) const {
    return (starts_with(path, "unet.") ? input.unet : input.te) * input.blocks.at(path);
  }

  static bool changes_bias(const LoraReader& reader, const std::string& path) {
    return std::ranges::any_of(reader.read(path),
                               [](const NamedTensor& tensor) { return tensor.name == "diff_b" || tensor.name == "b_norm"; });
  }

  void add_place(const std::string& path, bool bias) {
    const auto stored = checkpoint_.stored(path + (bias ? ".bias" : ".weight"));
    if (!stored)
      throw Error(ErrorKind::unsupported, "a LoRA changes the bias of " + path + ", and the checkpoint has none",
                  "use the LoRA by its tag instead of baking it");
    places_[{stored->file.get(), stored->key}].push_back({path, bias, stored->part, stored->transposed});
  }

  void find_places() {
    std::set<std::string> weights, biases;
    for (const MixInput& input : inputs_)
      for (const auto& [path, layer] : input.reader->layers()) {
        if (multiplier(input, path) == 0) continue;
        weights.insert(path);
        if (changes_bias(*input.reader, path)) biases.insert(path);
      }
    for (const std::string& path : weights) add_place(path, false);
    for (const std::string& path : biases) add_place(path, true);
    if (places_.empty()) throw Error(ErrorKind::bad_input, "nothing is to be baked: no layer changes");
    result_.layers = static_cast<int>(weights.size());
    result_.tensors = static_cast<int>(places_.size());
  }

  // As LoraApplier has them: in the order of the inputs, two uses of one file summed.
  LoraTerms terms(const std::string& path) const {
    LoraTerms terms;
    std::vector<const LoraReader*> readers;
    for (const MixInput& input : inputs_) {
      if (!input.reader->layers().contains(path)) continue;
      const auto same = std::ranges::find(readers, input.reader.get());
      if (same != readers.end()) {
        terms[static_cast<size_t>(same - readers.begin())].multiplier += multiplier(input, path);
        continue;
      }
      const ReadAdapter read = input.reader->load(path);
      if (!read.adapter) continue;
      terms.push_back({read.adapter, multiplier(input, path)});
      readers.push_back(input.reader.get());
    }
    std::erase_if(terms, [](const LoraTerm& term) { return term.multiplier == 0; });
    return terms;
  }

  // The stored tensor with the merged weights in their places, float32.
  Tensor changed(const Tensor& stored, const std::vector<Place>& places) const {
    Tensor whole = stored.to(torch::kFloat, /*non_blocking=*/false, /*copy=*/true);
    for (const Place& place : places) {
      const Layer& layer = *layers_.at(place.path);
      const MergedLayer merged = merged_layer(layer, terms(place.path));
      Tensor value = place.bias ? merged.bias : merged.weight;
      if (!value.defined()) continue;
      if (place.transposed) value = value.t();
      const int64_t rows = whole.size(0) / (place.part < 0 ? 1 : 3);
      Tensor part = place.part < 0 ? whole : whole.narrow(0, place.part * rows, rows);
      part.copy_(value.reshape(part.sizes()));
    }
    return whole;
  }

  const Checkpoint& checkpoint_;
  const LayerMap& layers_;
  std::span<const MixInput> inputs_;
  const BakeOptions& options_;
  Places places_;
  BakeResult result_;
  int in_8_bits_ = 0;
};

std::string read_text(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_file(Baking& baking, const TensorFile& file, const fs::path& source, const fs::path& output, Progress& progress) {
  Metadata metadata = baking.metadata_of(file, source);
  // What stands beside the checkpoint would be left behind.
  const fs::path beside = fs::path(source).replace_extension(".config.json");
  if (fs::is_regular_file(source) && fs::is_regular_file(beside)) metadata["lorikeet.config"] = read_text(beside);
  write_planned(output, baking.tensors_of(file), std::move(metadata), progress, [&] { baking.release_pages(); });
}

bool is_weight_file(const fs::path& path) {
  const std::string name = path.filename().string();
  for (std::string_view end : {".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".index.json"})
    if (ends_with(name, end)) return true;
  return false;
}

// A pickle becomes a safetensors file, under the name that its readers expect.
fs::path written_name(const fs::path& file) {
  if (file.extension() == ".safetensors") return file;
  const std::string name = replace_all(file.stem().string(), "pytorch_model", "model");
  return file.parent_path() / ((starts_with(file.stem().string(), "diffusion_") ? file.stem().string() : name) + ".safetensors");
}

// A folder that is put in place as a whole, or removed again.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& output)
      : output_(output), path_(output.parent_path() / ("." + output.filename().string() + "." + std::to_string(::getpid()) + ".tmp")) {
    fs::create_directories(path_);
  }
  ~NewFolder() {
    std::error_code ignored;
    if (!done_) fs::remove_all(path_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;
  const fs::path& path() const { return path_; }
  void commit() {
    fs::rename(path_, output_);
    done_ = true;
  }

 private:
  fs::path output_, path_;
  bool done_ = false;
};

// The index of shards names the files by their new names.
void copy_index(const fs::path& index, const fs::path& to) {
  std::string text = read_text(index);
  nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("weight_map")) return;
  for (auto& [key, shard] : json["weight_map"].items())
    if (shard.is_string()) shard = written_name(shard.get<std::string>()).string();
  fs::path name = index.filename();
  if (ends_with(name.string(), ".bin.index.json"))
    name = written_name(name.string().substr(0, name.string().size() - 11)).string() + ".index.json";
  write_file_atomically(to / name, json.dump(2) + "\n");
}

void write_folder(Baking& baking, const Checkpoint& checkpoint, fs::path output, Progress& progress) {
  while (!output.has_filename()) output = output.parent_path();
  const fs::path source = checkpoint.path();
  try {
    NewFolder folder(output);
    std::set<fs::path> used_folders;
    for (const auto& file : checkpoint.files()) {
      const fs::path name = fs::relative(file->path(), source);
      used_folders.insert(file->path().parent_path());
      fs::create_directories((folder.path() / name).parent_path());
      write_file(baking, *file, source, folder.path() / written_name(name), progress);
    }
    for (const auto& entry : fs::recursive_directory_iterator(source)) {
      const fs::path name = fs::relative(entry.path(), source), to = folder.path() / name;
      if (entry.is_directory()) {
        fs::create_directories(to);
      } else if (ends_with(name.string(), ".index.json") && used_folders.contains(entry.path().parent_path())) {
        copy_index(entry.path(), to.parent_path());
      } else if (!is_weight_file(name) || !used_folders.contains(entry.path().parent_path())) {
        // Other copies of the weights that were baked (variants, pickles) would be the old model.
        fs::copy_file(entry.path(), to);
      }
    }
    folder.commit();
  } catch (const fs::filesystem_error& error) {
    throw Error(ErrorKind::io, std::string("cannot write ") + output.string() + ": " + error.code().message());
  }
}

}  // namespace

BakeResult bake(const Checkpoint& checkpoint, const LayerMap& layers, std::span<const MixInput> inputs, const BakeOptions& options,
                const fs::path& output, Progress& progress) {
  std::vector<fs::path> sources{checkpoint.path()};
  for (const MixInput& input : inputs) sources.push_back(input.reader->file().path());
  refuse_input_as_output(output, sources);
  const bool folder = fs::is_directory(checkpoint.path());
  if (folder && (output.extension() == ".safetensors" || fs::exists(output)))
    throw Error(ErrorKind::bad_input,
                fs::exists(output) ? output.string() + " is there already"
                                   : "the checkpoint is a folder in diffusers' layout; so is what is written",
                "name a new folder with -o");
  Baking baking(checkpoint, layers, inputs, options);
  with_context("while baking into " + checkpoint.path().filename().string(), [&] {
    if (folder)
      write_folder(baking, checkpoint, output, progress);
    else
      write_file(baking, *checkpoint.files().front(), checkpoint.path(), output, progress);
  });
  baking.note_losses();
  return baking.result();
}

}  // namespace lorikeet
