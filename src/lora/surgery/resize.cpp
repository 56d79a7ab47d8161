#include "lora/surgery/resize.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "lora/blocks.h"
#include "lora/surgery/option_words.h"

namespace lorikeet {
namespace {

bool is_magnitude(std::string_view name) { return name == "dora_scale" || name == "lora_magnitude_vector"; }

// What can be resized of a module, and what stands beside it.
struct Taken {
  std::unique_ptr<Adapter> lora;
  std::vector<NamedTensor> beside;
};

Taken take_lora(const LoraReader& reader, const std::string& path) {
  Taken taken;
  std::vector<NamedTensor> inner;
  for (NamedTensor& tensor : reader.read(path)) {
    const bool beside = is_magnitude(tensor.name) || tensor.name == "diff_b";
    (beside ? taken.beside : inner).push_back(std::move(tensor));
  }
  TensorGroup group(reader.module(path), std::move(inner));
  const AdapterKind* kind = recognise_kind(group.shapes());
  if (kind && kind->name == "lora") taken.lora = kind->load(group, *reader.layers().at(path));
  return taken;
}

Dtype stored_dtype(const LoraReader& reader, const std::string& path) {
  for (const NamedTensor& tensor : reader.read(path))
    if (tensor.name == "lora_down.weight" || tensor.name == "lora_embedding_A") return tensor.tensor.scalar_type();
  return torch::kFloat;
}

}  // namespace

LoraDraft resize(const LoraReader& reader, const ResizeOptions& options, ResizeResult& result, Progress& progress) {
  check(options.ranks);
  refuse_larger(options.ranks, longest_rank(reader));
  const std::vector<std::string> paths = paths_of(reader);
  std::vector<DraftModule> modules(paths.size());
  std::vector<std::optional<LayerResult>> layers(paths.size());
  for_each_layer(paths, "resizing", progress, [&](size_t i, const std::string& path) {
    const Taken taken = take_lora(reader, path);
    if (!taken.lora) {
      modules[i] = module_as_stored(reader, path, options.dtype);
      return;
    }
    const Shape shape = reader.layers().at(path)->base_weight().sizes().vec();
    const Dtype dtype = options.dtype.value_or(stored_dtype(reader, path));
    const Decomposition change = Decomposition::of(*taken.lora->low_rank());
    // kohya's tool counts 1×1 convolutions among the convolutions.
    const bool convolution = shape.size() == 4 && (options.ranks.like_kohya || shape[2] * shape[3] > 1);
    const int64_t rank = choose_rank(options.ranks, path, convolution, change);
    modules[i] = {plain_lora(change.truncated(rank), shape, dtype), reader.module(path)};
    for (const NamedTensor& tensor : taken.beside) modules[i].tensors.push_back(DraftTensor::of(tensor.name, tensor.tensor, dtype));
    layers[i] = {path, block_of(path), taken.lora->rank(), rank, change.norm(), change.error(rank)};
  });
  LoraDraft draft;
  for (size_t i = 0; i < paths.size(); ++i) {
    draft.modules[paths[i]] = std::move(modules[i]);
    if (layers[i])
      result.layers.push_back(std::move(*layers[i]));
    else
      result.carried.push_back(paths[i]);
  }
  if (result.layers.empty())
    throw Error(ErrorKind::bad_input, reader.report().name + " holds no plain LoRA that could be resized",
                "make it one: lorikeet lora convert --kind lora --rank N");
  draft.others = other_tensors(reader);
  draft.metadata = reader.file().metadata();
  const RankCounts counts = rank_counts(draft);
  note_ranks(draft.metadata, counts.ranks, counts.alphas);
  nlohmann::ordered_json words = option_words(options.ranks);
  if (options.dtype) words["dtype"] = dtype_word(*options.dtype);
  add_history(draft.metadata, "resize", {history_input(reader.file().path(), reader.file().metadata())}, words, reader.file().metadata());
  return draft;
}

}  // namespace lorikeet
