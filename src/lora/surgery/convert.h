// A LoRA file in another spelling, type or kind.
#pragma once
#include "lora/surgery/change.h"

namespace lorikeet {

enum class ToKind {
  as_is,
  lora,  // plain LoRA; kinds whose change has a low rank exactly, others by their leading singular values
  full,  // whole differences
};

struct ConvertOptions {
  ToKind kind = ToKind::as_is;
  RankOptions ranks = {};           // for ToKind::lora; no rank and no rule: exact, where the kind has a low rank
  std::optional<Dtype> dtype = {};  // nothing: as stored
  std::string spelling = {};        // for the history; "": as it was
};

struct ConvertResult {
  std::vector<LayerResult> layers;   // those whose kind changed
  std::vector<std::string> carried;  // norms, which have no other kind
};

// The draft; in which spelling it is written is write_draft()'s matter. Layers that have the kind already are carried over as stored.
LoraDraft convert(const LoraReader& reader, const ConvertOptions& options, ConvertResult& result, Progress& progress);

}  // namespace lorikeet
