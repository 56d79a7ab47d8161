#include "server/http.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace lorikeet {

namespace {
using nlohmann::json;

std::string value_of(const Texts& texts, const std::string& name) {
  const auto found = texts.find(name);
  return found == texts.end() ? "" : found->second;
}

[[noreturn]] void refuse(const std::string& key, const std::string& wanted, const json& value) {
  std::string shown = dump(value);
  if (shown.size() > 80) shown = shown.substr(0, 77) + "…";
  throw Error(ErrorKind::bad_input, "\"" + key + "\" wants " + wanted + ", not " + valid_utf8(shown));
}
}  // namespace

std::string_view name(Method method) {
  switch (method) {
    case Method::post: return "POST";
    case Method::del: return "DELETE";
    default: return "GET";
  }
}

std::string HttpRequest::header(const std::string& name) const { return value_of(headers, name); }
std::string HttpRequest::parameter(const std::string& name) const { return value_of(query, name); }

std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

HttpResponse json_response(const json& value, int status) { return {.status = status, .body = dump(value)}; }

HttpResponse bytes_response(const HttpRequest& request, std::string bytes, std::string content_type, const std::string& etag,
                            bool immutable) {
  HttpResponse response{.content_type = std::move(content_type), .body = std::move(bytes)};
  response.headers.emplace_back("Cache-Control", immutable ? "private, max-age=31536000, immutable" : "private, no-cache");
  if (etag.empty()) return response;
  response.headers.emplace_back("ETag", "\"" + etag + "\"");
  if (request.header("if-none-match").find("\"" + etag + "\"") != std::string::npos) {
    response.status = 304;
    response.body.clear();
  }
  return response;
}

Members::Members(const json& object) : object_(object) {
  if (!object.is_object()) throw Error(ErrorKind::bad_input, "the body of this request is a JSON object", "send {\"name\": value, …}");
}

const json* Members::any(const std::string& key) {
  asked_.push_back(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> Members::text(const std::string& key) {
  const json* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) refuse(key, "a text", *value);
  return value->get<std::string>();
}

std::optional<int64_t> Members::whole_number(const std::string& key) {
  const auto value = number(key);
  if (!value) return std::nullopt;
  if (std::floor(*value) != *value || std::abs(*value) > 9e15) refuse(key, "a whole number", object_.at(key));
  return static_cast<int64_t>(*value);
}

std::optional<double> Members::number(const std::string& key) {
  const json* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_number()) refuse(key, "a number", *value);
  return value->get<double>();
}

std::optional<bool> Members::yes_no(const std::string& key) {
  const json* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) refuse(key, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::vector<std::string>> Members::texts(const std::string& key) {
  const json* value = any(key);
  if (!value) return std::nullopt;
  if (!value->is_array() || !std::ranges::all_of(*value, [](const json& one) { return one.is_string(); }))
    refuse(key, "a list of texts", *value);
  return value->get<std::vector<std::string>>();
}

std::string Members::wanted_text(const std::string& key) {
  auto value = text(key);
  if (!value || value->empty()) throw Error(ErrorKind::bad_input, "\"" + key + "\" is missing");
  return *value;
}

void Members::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (std::ranges::find(asked_, key) != asked_.end()) continue;
    const std::string near = did_you_mean(key, asked_);
    throw Error(ErrorKind::bad_input, "\"" + key + "\" is not known here", near.empty() ? "there are " + join(asked_, ", ") : near);
  }
}

}  // namespace lorikeet
