// A folder for one test, removed with everything in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace kw::store::test {

struct temp_folder {
    std::string path;
    temp_folder() {
        std::string name = (std::filesystem::temp_directory_path() / "kw-store-XXXXXX").string();
        path = ::mkdtemp(name.data());
    }
    ~temp_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    temp_folder(const temp_folder&) = delete;
    temp_folder& operator=(const temp_folder&) = delete;
};

}  // namespace kw::store::test
