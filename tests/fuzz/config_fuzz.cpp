// Whatever a configuration file holds, loading it ends in settings or in a bounded list of
// problems.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/describe.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    // A fuzzer must not read files of its own choice.
    if (text.find("file:") != std::string_view::npos) return 0;
    const kw::config::environment env = {{"KEY", "sk-a,sk-b"}};
    const auto loaded = kw::config::load_text(text, "fuzz.yaml", env);
    if (loaded) {
        if (kw::config::describe(*loaded).empty()) std::abort();
        if (!kw::config::differences(loaded->values, loaded->values).empty()) std::abort();
    } else {
        const auto& items = loaded.error().items;
        if (items.empty() || items.size() > kw::config::problem_list::max_problems) std::abort();
        for (const auto& p : items) {
            if (p.to_string().empty()) std::abort();
        }
    }
    return 0;
}
