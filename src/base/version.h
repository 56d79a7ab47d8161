// Which Lorikeet this is.
#pragma once

namespace lorikeet {

const char* program_version();  // "0.1.0"

}  // namespace lorikeet
