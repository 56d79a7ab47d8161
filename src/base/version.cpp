#include "base/version.h"

namespace lorikeet {

const char* program_version() { return LORIKEET_VERSION; }

}  // namespace lorikeet
