#include "generate/infotext_words.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace lorikeet {

std::string_view word_for_true(std::string_view infotext_key) {
  if (infotext_key == "Mask mode") return "Inpaint not masked";
  if (infotext_key == "Inpaint area") return "Only masked";
  return "True";
}

std::string quote_infotext(std::string_view value) {
  const bool plain = value.find_first_of(",\n:") == std::string_view::npos && trim(value) == value && !starts_with(value, "\"");
  if (plain) return std::string(value);
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string unquote_infotext(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::string(value);
  const auto json = nlohmann::json::parse(value, nullptr, false);
  return json.is_string() ? json.get<std::string>() : std::string(value);
}

}  // namespace lorikeet
