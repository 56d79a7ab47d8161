// What A1111's routes tell of pictures: the JSON text "info" beside them, and the settings that a picture carries.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "server/jobs.h"
#include "server/sdapi_request.h"

namespace lorikeet {

// The value of "info": a JSON text. `request`: ours, as it was carried out.
std::string sdapi_info(const SdapiBody& body, const nlohmann::json& request, const Job& job, const Delivery& delivery);

// A1111's parse_generation_parameters(): "Prompt", "Negative prompt", "Steps", … "Size-1", all texts.
nlohmann::json sdapi_parameters_of(const std::string& infotext);

}  // namespace lorikeet
