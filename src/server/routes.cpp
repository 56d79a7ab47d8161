#include "server/routes.h"

#include "base/text.h"

namespace lorikeet {

std::span<const Route> routes() {
  static const std::vector<Route> all = [] {
    std::vector<Route> list;
    for (const auto table : {status_routes(), job_routes(), library_routes(), picture_routes(), dataset_routes(), sdapi_picture_routes(),
                             sdapi_model_routes(), sdapi_state_routes(), sdapi_page_routes()})
      list.insert(list.end(), table.begin(), table.end());
    return list;
  }();
  return all;
}

namespace {
// The part at "{id}", "" where the pattern has none; nothing: no match.
std::optional<std::string> matched(std::string_view pattern, std::string_view path) {
  constexpr std::string_view kId = "{id}";
  const size_t at = pattern.find(kId);
  if (at == std::string_view::npos) return pattern == path ? std::optional(std::string()) : std::nullopt;
  const std::string_view begin = pattern.substr(0, at), end = pattern.substr(at + kId.size());
  if (path.size() <= begin.size() + end.size() || !starts_with(path, begin) || !ends_with(path, end)) return std::nullopt;
  const std::string_view id = path.substr(at, path.size() - begin.size() - end.size());
  return id.find('/') == std::string_view::npos ? std::optional(std::string(id)) : std::nullopt;
}
}  // namespace

RouteMatch find_route(Method method, std::string_view path) {
  RouteMatch match;
  if (path.size() > 1 && path.back() == '/') path.remove_suffix(1);  // clients write "/sdapi/v1/options/" too
  for (const Route& route : routes()) {
    const auto id = matched(route.path, path);
    if (!id) continue;
    match.methods.push_back(route.method);
    if (route.method != method) continue;
    match.route = &route;
    match.id = *id;
    return match;
  }
  return match;
}

}  // namespace lorikeet
