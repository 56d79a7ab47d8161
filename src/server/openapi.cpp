#include "server/openapi.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "base/version.h"
#include "server/routes.h"

namespace lorikeet {

namespace {
using nlohmann::json;

std::string_view type_word(FieldType type) {
  switch (type) {
    case FieldType::whole_number: return "integer";
    case FieldType::number: return "number";
    case FieldType::yes_no: return "boolean";
    case FieldType::texts: return "strings";
    case FieldType::picture: return "picture";
    case FieldType::choice: return "choice";
    default: return "string";
  }
}

bool is_bound(double value) { return value > std::numeric_limits<double>::lowest() && value < std::numeric_limits<double>::max(); }
double least_of(const Field& field) { return field.range.or_zero ? std::min(0.0, field.range.least) : field.range.least; }
bool is_numeric(FieldType type) { return type == FieldType::whole_number || type == FieldType::number; }

json property(const FieldInfo& info) {
  json schema{{"description", info.field.help}};
  switch (info.type) {
    case FieldType::texts: schema["oneOf"] = {{{"type", "string"}}, {{"type", "array"}, {"items", {{"type", "string"}}}}}; break;
    case FieldType::picture:
      schema["type"] = "string";
      schema["contentEncoding"] = "base64";
      break;
    case FieldType::choice: {
      schema["type"] = "string";
      for (const Choice& choice : info.choices) schema["enum"].push_back(choice.name);
      break;
    }
    default: schema["type"] = type_word(info.type);
  }
  if (is_numeric(info.type)) {
    if (is_bound(info.field.range.least)) schema["minimum"] = least_of(info.field);
    if (is_bound(info.field.range.most)) schema["maximum"] = info.field.range.most;
  }
  return schema;
}

json operation(const Route& route) {
  json value{{"summary", route.summary},
             {"responses", {{"200", {{"description", "Done."}}}, {"default", {{"description", "An error, with a message."}}}}}};
  if (route.path.find("{id}") != std::string_view::npos)
    value["parameters"] = json::array({{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "integer"}}}}});
  if (route.body) value["requestBody"] = {{"content", {{"application/json", {{"schema", route.body()}}}}}};
  return value;
}

std::string_view key_of(Method method) { return method == Method::get ? "get" : method == Method::post ? "post" : "delete"; }
}  // namespace

json field_json(const FieldInfo& info, const json& default_value) {
  json value{{"name", info.field.name},        {"type", type_word(info.type)},          {"help", info.field.help},
             {"group", info.field.group.name}, {"group_title", info.field.group.title}, {"default", default_value}};
  if (is_numeric(info.type)) {
    if (is_bound(info.field.range.least)) value["min"] = least_of(info.field);
    if (is_bound(info.field.range.most)) value["max"] = info.field.range.most;
  }
  if (default_value.is_null()) value["optional"] = true;
  if (info.type == FieldType::choice)
    for (const Choice& choice : info.choices) value["choices"].push_back({{"name", choice.name}, {"label", choice.label}});
  return value;
}

json object_schema(std::initializer_list<std::pair<const char*, const char*>> members, std::initializer_list<const char*> required) {
  json schema{{"type", "object"}, {"properties", json::object()}};
  for (const auto& [name, type] : members) schema["properties"][name] = {{"type", type}};
  for (const char* name : required) schema["required"].push_back(name);
  return schema;
}

json settings_schema(std::span<const FieldInfo> fields) {
  json schema{{"type", "object"}, {"properties", json::object()}};
  for (const FieldInfo& info : fields) schema["properties"][std::string(info.field.name)] = property(info);
  return schema;
}

bool is_settled_by_server(std::string_view setting) {
  constexpr std::string_view kSettled[] = {"run_dir", "device", "precision", "threads", "procs", "install"};
  return std::ranges::find(kSettled, setting) != std::end(kSettled);
}

json openapi_text() {
  json text{
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Lorikeet"},
        {"version", program_version()},
        {"description", "Pictures, training and a library of LoRAs; A1111's /sdapi/v1 beside /api/v1."}}},
      {"components",
       {{"securitySchemes", {{"token", {{"type", "http"}, {"scheme", "bearer"}}}, {"password", {{"type", "http"}, {"scheme", "basic"}}}}}}},
      {"paths", json::object()}};
  for (const Route& route : routes()) text["paths"][std::string(route.path)][std::string(key_of(route.method))] = operation(route);
  return text;
}

}  // namespace lorikeet
