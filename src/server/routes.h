// The route table: one row for each route of the HTTP interface. Dispatch, the OpenAPI text and the contract tests read it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace lorikeet {

class App;

struct Route {
  Method method;
  std::string_view path;  // "{id}" stands for one part
  std::string_view summary;
  HttpResponse (*handle)(App& app, const HttpRequest& request);
  nlohmann::json (*body)() = nullptr;  // the JSON schema of the body; null: it has none, or any
};

// All of them.
std::span<const Route> routes();

// The tables of the handler files.
std::span<const Route> status_routes();         // /health, /metrics, /api/v1/status, schema, openapi.json, login, checkpoint
std::span<const Route> job_routes();            // /api/v1/jobs, events
std::span<const Route> library_routes();        // /api/v1/library
std::span<const Route> picture_routes();        // /api/v1/pictures, prompt
std::span<const Route> dataset_routes();        // /api/v1/datasets
std::span<const Route> sdapi_picture_routes();  // A1111: txt2img, img2img, extras, png-info, interrogate
std::span<const Route> sdapi_model_routes();    // A1111: lists of models and of what there is
std::span<const Route> sdapi_state_routes();    // A1111: progress, interrupt, options, memory, server-stop
std::span<const Route> sdapi_page_routes();     // A1111's page: /internal, /sd_extra_networks

struct RouteMatch {
  const Route* route = nullptr;
  std::string id;
  std::vector<Method> methods;  // of this path, where the method is another
};
RouteMatch find_route(Method method, std::string_view path);

}  // namespace lorikeet
