// The library as JSON: cards, pages and edits with the names of the API.
#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "library/card.h"
#include "library/query.h"

namespace lorikeet {

// "loras", "checkpoints", "embeddings", "vaes"; nothing for other words.
std::optional<ModelKind> model_kind_of(std::string_view word);
std::string_view plural(ModelKind kind);

nlohmann::json json_of(const LibraryCard& card);
nlohmann::json json_of(const LibraryItem& item);  // the card's keys and the details; without the path
nlohmann::json json_of(const LibraryPage& page);
nlohmann::json json_of(const LoraFit& fit);

// The inverse of json_of(card), as far as the object goes; what it lacks or has in another type stays empty.
LibraryCard card_from_json(const nlohmann::json& object);

// Error{bad_input}: no object, an unknown key, a wrong type. null stands for "none".
LibraryEdit edit_from_json(const nlohmann::json& object);

// From the parameters of a URL: query, folder, family, tag, favourite, sort, order, offset, limit. Error{bad_input}: another key, a
// value that cannot be.
LibraryQuery query_from_parameters(ModelKind kind, const std::map<std::string, std::string>& parameters);

}  // namespace lorikeet
