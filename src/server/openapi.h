// The interface as OpenAPI 3.1: made from the route table and the lists of settings, so that it cannot say anything else than the server
// does.
#pragma once
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "io/fields.h"

namespace lorikeet {

nlohmann::json openapi_text();

// One setting as /api/v1/schema tells it: {name, type, help, group, group_title, default, min?, max?, choices?, optional?}.
nlohmann::json field_json(const FieldInfo& info, const nlohmann::json& default_value);
template <class S>
nlohmann::json fields_json() {
  nlohmann::json list = nlohmann::json::array();
  const nlohmann::json defaults = write_fields(S{});
  for (const FieldInfo& info : describe_fields<S>()) list.push_back(field_json(info, defaults.at(std::string(info.field.name))));
  return list;
}

// JSON schemas: of an object with these members ("string", "integer", "number", "boolean", "array", "object"), and of all settings of S.
nlohmann::json object_schema(std::initializer_list<std::pair<const char*, const char*>> members,
                             std::initializer_list<const char*> required = {});
nlohmann::json settings_schema(std::span<const FieldInfo> fields);

// Settings of training that the server settles itself.
bool is_settled_by_server(std::string_view train_setting);

}  // namespace lorikeet
