#include "lora/surgery/convert.h"

#include "base/error.h"
#include "lora/blocks.h"
#include "lora/surgery/option_words.h"

namespace lorikeet {
namespace {

std::string_view kind_in_file(const LoraReader& reader, const std::string& path) {
  TensorShapes shapes;
  for (const NamedTensor& tensor : reader.read(path)) shapes[tensor.name] = tensor.tensor.sizes().vec();
  const AdapterKind* kind = recognise_kind(shapes);
  return kind ? kind->name : "";
}

Dtype widest_dtype(const LoraReader& reader, const std::string& path) {
  Dtype widest = torch::kHalf;
  for (const NamedTensor& tensor : reader.read(path)) {
    if (!tensor.tensor.is_floating_point() || tensor.tensor.numel() <= 1) continue;
    widest = torch::promote_types(widest, tensor.tensor.scalar_type());
    if (tensor.tensor.scalar_type() == torch::kBFloat16) return torch::kBFloat16;
  }
  return widest;
}

std::vector<DraftTensor> as_plain_lora(const Change& change, const std::string& path, const RankOptions& ranks, Dtype dtype,
                                       LayerResult& layer) {
  const Decomposition parts = decompose(change);
  const bool asked = ranks.rank > 0 || !ranks.rule.empty();
  if (!asked && !change.low_rank)
    throw Error(ErrorKind::bad_input, "the change has no low rank by itself", "say which is wanted: --rank N, or --rule sv_fro=0.95");
  layer.rank = asked ? choose_rank(ranks, path, change.has_kernel(), parts) : change.low_rank->rank();
  layer.norm = parts.norm();
  layer.error = asked ? parts.error(layer.rank) : 0;
  auto tensors = plain_lora(asked ? parts.truncated(layer.rank) : *change.low_rank, change.shape, dtype);
  add_bias(tensors, change, dtype);
  return tensors;
}

std::string_view word(ToKind kind) { return kind == ToKind::lora ? "lora" : kind == ToKind::full ? "full" : "as it is"; }

}  // namespace

LoraDraft convert(const LoraReader& reader, const ConvertOptions& options, ConvertResult& result, Progress& progress) {
  if (options.ranks.rank > 0 || !options.ranks.rule.empty()) check(options.ranks);
  refuse_larger(options.ranks, longest_rank(reader));
  const std::vector<std::string> paths = paths_of(reader);
  std::vector<DraftModule> modules(paths.size());
  std::vector<std::optional<LayerResult>> layers(paths.size());
  for_each_layer(paths, "converting", progress, [&](size_t i, const std::string& path) {
    const std::string_view kind = options.kind == ToKind::as_is ? "" : kind_in_file(reader, path);
    if (options.kind == ToKind::as_is || kind == word(options.kind) || kind == "norm") {
      modules[i] = module_as_stored(reader, path, options.dtype);
      return;
    }
    const Change change = read_change(reader, path);
    const Dtype dtype = options.dtype.value_or(widest_dtype(reader, path));
    LayerResult layer{path, block_of(path)};
    modules[i].source = reader.module(path);
    modules[i].tensors = options.kind == ToKind::full || !change.is_matrix() ? whole_difference(change, dtype)
                                                                             : as_plain_lora(change, path, options.ranks, dtype, layer);
    if (options.kind == ToKind::full) layer.norm = change.norm();
    layers[i] = std::move(layer);
  });
  LoraDraft draft;
  for (size_t i = 0; i < paths.size(); ++i) {
    draft.modules[paths[i]] = std::move(modules[i]);
    if (layers[i])
      result.layers.push_back(std::move(*layers[i]));
    else if (options.kind != ToKind::as_is)
      result.carried.push_back(paths[i]);
  }
  draft.others = other_tensors(reader);
  draft.metadata = reader.file().metadata();
  nlohmann::ordered_json words = option_words(options.ranks);
  if (!options.spelling.empty()) words["to"] = options.spelling;
  if (options.dtype) words["dtype"] = dtype_word(*options.dtype);
  if (options.kind != ToKind::as_is) words["kind"] = word(options.kind);
  if (options.kind == ToKind::lora && !result.layers.empty()) {
    const RankCounts counts = rank_counts(draft);
    note_ranks(draft.metadata, counts.ranks, counts.alphas);
    if (draft.metadata.contains("ss_network_module")) draft.metadata["ss_network_module"] = "networks.lora";
    draft.metadata.erase("ss_network_args");
    words["relative_error"] = total_error(result.layers);
  }
  add_history(draft.metadata, "convert", {history_input(reader.file().path(), reader.file().metadata())}, words, reader.file().metadata());
  return draft;
}

}  // namespace lorikeet
