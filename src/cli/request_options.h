// The options of commands that make pictures: a model and the settings of a Request, and what they come to.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/field_options.h"
#include "cli/options.h"
#include "generate/engine.h"
#include "generate/request.h"

namespace lorikeet {

struct RequestOptions {
  FolderOptions folders;
  DeviceOptions device;
  std::string model, from, output = "outputs";
  std::shared_ptr<GivenFields> given = std::make_shared<GivenFields>();
};

// --model, --output, --from and all settings, in the groups of fields().
void add_request_options(CLI::App& app, RequestOptions& options, const std::string& help_of_output);

struct RequestPlan {
  Request request;  // validated
  FoundModel checkpoint;
  std::vector<std::string> notes;
};

// Settings of the picture that --from names, then the flags over them, and the format that the output's name asks for. Error{bad_input}:
// neither a picture nor a prompt.
RequestPlan plan_request(const RequestOptions& options, const ModelFolders& folders);

EngineOptions engine_options(const RequestOptions& options, const RequestPlan& plan, const ModelFolders& folders);

}  // namespace lorikeet
