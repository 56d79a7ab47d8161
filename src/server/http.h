// What a handler sees of HTTP and what it answers. Nothing here knows the library that speaks the protocol (listener.h).
#pragma once
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

enum class Method { get, post, del };
std::string_view name(Method method);  // "GET", …

using Texts = std::map<std::string, std::string>;

struct HttpRequest {
  Method method = Method::get;
  std::string path;     // decoded, without the query
  Texts query;          // decoded; of equal names the first
  Texts headers;        // names in lower case
  std::string body;     // as it came
  nlohmann::json json;  // the body, where it is JSON; null when there is none
  std::string address;  // of the client
  std::string id;       // what stands for {id} in the route's path

  std::string header(const std::string& name) const;  // "" when it is not there
  std::string parameter(const std::string& name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  // Where set: the body comes piece by piece until it returns nothing. An empty piece asks whether the client is still there.
  std::function<std::optional<std::string>()> stream = {};
  bool close = false;  // the connection
};

HttpResponse json_response(const nlohmann::json& json, int status = 200);
// With an ETag: 304 where the client has these very bytes already. immutable: the address changes when the bytes do.
HttpResponse bytes_response(const HttpRequest& request, std::string bytes, std::string content_type, const std::string& etag = "",
                            bool immutable = false);

// Text that is safe in JSON and in headers: invalid UTF-8 replaced.
std::string dump(const nlohmann::json& json);

// The members of a JSON object, each asked for by name and type; finish() refuses those that nobody asked for. Error{bad_input} names the
// member and what it wants. null is as if it were not there.
class Members {
 public:
  explicit Members(const nlohmann::json& object);
  std::optional<std::string> text(const std::string& key);
  std::optional<int64_t> whole_number(const std::string& key);
  std::optional<double> number(const std::string& key);
  std::optional<bool> yes_no(const std::string& key);
  std::optional<std::vector<std::string>> texts(const std::string& key);
  const nlohmann::json* any(const std::string& key);  // null pointer: not there
  std::string wanted_text(const std::string& key);    // Error when it is not there
  void finish() const;

 private:
  const nlohmann::json& object_;
  std::vector<std::string> asked_;
};

}  // namespace lorikeet
