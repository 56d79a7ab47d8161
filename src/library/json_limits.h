// A bound for JSON that comes from strangers' files: nlohmann's values are built and freed level by level.
#pragma once
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace lorikeet {

// For json::parse(text, limit_json_depth, false). Throws Error{bad_input}.
inline bool limit_json_depth(int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
  if (depth > 64) throw Error(ErrorKind::bad_input, "the JSON nests too deep");
  return true;
}

}  // namespace lorikeet
