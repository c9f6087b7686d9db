// The YAML file's walk, and the order in which the stages of loading come.
#include "config/loader.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>

#include "config/loading.hpp"

namespace kw::config {

namespace {

constexpr std::size_t max_file_bytes = 4 * mib;
// Anchors let a small file stand for a huge tree.
constexpr std::size_t max_nodes = 500'000;
constexpr std::size_t max_shown_key = 64;

// Where a document begins; its content does not matter.
struct document_start final : YAML::EventHandler {
    YAML::Mark mark = YAML::Mark::null_mark();

    void OnDocumentStart(const YAML::Mark& m) override { mark = m; }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

class tree_reader {
  public:
    // from: its file or variable; lines are filled in.
    tree_reader(loading& l, origin from) : l_(l), from_(std::move(from)) {}

    // The document's root, or a null node after a problem.
    [[nodiscard]] YAML::Node parse(const std::string& text) {
        try {
            // Not LoadAll: it goes on for ever over what is left of some malformed documents.
            std::istringstream stream(text);
            YAML::Parser parser(stream);
            document_start found;
            parser.HandleNextDocument(found);
            if (!parser) return YAML::Load(text);
            parser.HandleNextDocument(found);
            origin where = from_;
            if (!found.mark.is_null()) where.line = found.mark.line + 1;
            l_.report(std::move(where), "", {"begins a second document", "keep to one"});
        } catch (const YAML::Exception& e) {
            origin where = from_;
            if (!e.mark.is_null()) where.line = e.mark.line + 1;
            l_.report(std::move(where), "",
                      {"is not valid YAML: " + e.msg, "check the indentation"});
        }
        return {};
    }

    void read_sections(const YAML::Node& root) {
        for_pairs(root, "",
                  [&](const std::string& name, const YAML::Node&, const YAML::Node& value,
                      const origin& where) {
                      for (const auto& s : sections()) {
                          if (s.name == name) {
                              read_object(value, s.at(&l_.result.values), s.fields, {}, "", name);
                              return;
                          }
                      }
                      std::vector<std::string> known;
                      for (const auto& s : sections())
                          known.emplace_back(s.name);
                      for (const auto& one : lists()) {
                          if (one.name == name) return;  // read_list's
                          known.emplace_back(one.name);
                      }
                      unknown(where, "", name, known);
                  });
    }

    // The list's node under root, if there is one.
    void read_list_of(const YAML::Node& root, const list& one) {
        if (!root.IsMap()) return;
        for (const auto& pair : root) {
            if (pair.first.IsScalar() && pair.first.Scalar() == one.name) {
                read_list(pair.second, one);
                return;
            }
        }
    }

    void read_list(const YAML::Node& node, const list& one) {
        if (node.IsNull()) return;
        std::set<std::string> ids;
        if (one.keyed) {
            for_pairs(node, std::string(one.name),
                      [&](const std::string& id, const YAML::Node& key, const YAML::Node& value,
                          const origin& where) {
                          const auto path = fmt::format("{}.{}", one.name, shown(id));
                          read_item(value, one, path, where, &key, ids);
                      });
            return;
        }
        if (!node.IsSequence()) {
            l_.report(at(node), std::string(one.name),
                      {"is not a list", "write its items as lines that begin with -"});
            return;
        }
        std::size_t index = 0;
        for (const auto& item : node) {
            if (exhausted()) return;
            read_item(item, one, fmt::format("{}[{}]", one.name, index++), at(item), nullptr, ids);
        }
    }

  private:
    [[nodiscard]] origin at(const YAML::Node& node) const {
        origin where = from_;
        const auto mark = node.Mark();
        if (!mark.is_null() && where.variable.empty()) where.line = mark.line + 1;
        return where;
    }

    [[nodiscard]] bool exhausted() {
        if (++visited_ < max_nodes) return false;
        if (visited_ == max_nodes) {
            l_.report(from_, "", {"holds too many values", "use fewer anchors"});
        }
        return true;
    }

    [[nodiscard]] static std::string shown(const std::string& key) {
        return key.substr(0, max_shown_key);
    }

    [[nodiscard]] static std::string join(const std::string& path, std::string_view name) {
        return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
    }

    void unknown(const origin& where, const std::string& path, const std::string& name,
                 const std::vector<std::string>& known) {
        l_.report(where, join(path, shown(name)),
                  {"is not a known setting", suggestion(name, known, "remove it")});
    }

    // Calls each(key, key node, value, where) for a map's pairs; refuses all else, and keys twice.
    template <class Each>
    void for_pairs(const YAML::Node& node, const std::string& path, Each each) {
        if (node.IsNull()) return;  // a section with nothing but comments
        if (!node.IsMap()) {
            l_.report(at(node), path, {"is not a map", "write lines of the form name: value"});
            return;
        }
        std::set<std::string> seen;
        for (const auto& pair : node) {
            if (exhausted()) return;
            const origin where = at(pair.first);
            if (!pair.first.IsScalar()) {
                l_.report(where, path, {"has a key that is no plain text", "write name: value"});
            } else if (!seen.insert(pair.first.Scalar()).second) {
                l_.report(where, join(path, shown(pair.first.Scalar())),
                          {"is there twice", "keep one of them"});
            } else {
                each(pair.first.Scalar(), pair.first, pair.second, where);
            }
        }
    }

    // One map into an object. skip: a field that has been set already. Returns the names seen.
    std::set<std::string> read_object(const YAML::Node& node, void* owner,
                                      std::span<const field> fields, std::span<const section> inner,
                                      std::string_view skip, const std::string& path) {
        std::set<std::string> names;
        for_pairs(node, path,
                  [&](const std::string& name, const YAML::Node&, const YAML::Node& value,
                      const origin& where) {
                      std::vector<std::string> known;
                      for (const auto& f : fields) {
                          if (f.name == skip) continue;
                          if (f.name == name) {
                              names.insert(name);
                              read_field(value, f, f.at(owner), join(path, name), where);
                              return;
                          }
                          known.emplace_back(f.name);
                      }
                      for (const auto& s : inner) {
                          if (s.name == name) {
                              read_object(value, s.at(owner), s.fields, {}, "", join(path, name));
                              return;
                          }
                          known.emplace_back(s.name);
                      }
                      unknown(where, path, name, known);
                  });
        return names;
    }

    void read_item(const YAML::Node& node, const list& one, const std::string& path,
                   const origin& where, const YAML::Node* key, std::set<std::string>& ids) {
        void* item = one.append(l_.result.values);
        const std::string_view skip = key != nullptr ? one.id : std::string_view();
        auto names = read_object(node, item, one.fields, one.sections, skip, path);
        for (const auto& f : one.fields) {
            if (f.name == skip) {
                read_field(*key, f, f.at(item), path, where);
            } else if (f.required && !names.contains(std::string(f.name))) {
                l_.report(where, join(path, f.name), {"is missing", std::string(f.help)});
            }
            if (f.name != one.id) continue;
            const std::string id = format_value(f, f.at(item));
            if (!id.empty() && !ids.insert(id).second) {
                l_.report(where, join(path, f.name), {"is there twice", "give each its own"});
            }
            l_.set_origin(fmt::format("{}.{}", one.name, id), where);
        }
    }

    void read_field(const YAML::Node& node, const field& f, const slot& into,
                    const std::string& path, const origin& where) {
        if (node.IsNull()) {
            l_.report(where, path, {"has no value", "write one, or remove the line"});
        } else if (is_list(into)) {
            read_values(node, f, into, path, where);
        } else if (!node.IsScalar()) {
            l_.report(where, path, {"is not a single value", "write name: value"});
        } else if (auto bad = parse_value(f, into, node.Scalar(), l_.secrets)) {
            l_.report(where, path, *std::move(bad));
        } else {
            l_.set_origin(path, where);
        }
    }

    void read_values(const YAML::Node& node, const field& f, const slot& into,
                     const std::string& path, const origin& where) {
        if (!node.IsSequence()) {
            l_.report(where, path, {"is not a list", "write it in brackets: [a, b]"});
            return;
        }
        clear_list(into);
        std::size_t index = 0;
        for (const auto& element : node) {
            if (exhausted()) return;
            const std::string element_path = fmt::format("{}[{}]", path, index++);
            if (!element.IsScalar()) {
                l_.report(at(element), element_path, {"is not a single value", "write plain text"});
            } else if (auto bad = append_value(f, into, element.Scalar(), l_.secrets)) {
                l_.report(at(element), element_path, *std::move(bad));
            }
        }
        l_.set_origin(path, where);
    }

    loading& l_;
    origin from_;
    std::size_t visited_ = 0;
};

// A declared list comes from its variable, if that is set, else from the file.
void read_lists(loading& l, tree_reader& file, const YAML::Node& root) {
    for (const auto& one : lists()) {
        const std::string name = variable_name(one.name);
        if (const auto* text = l.variable(name)) {
            tree_reader reader(l, origin{.file = {}, .line = 0, .variable = name});
            reader.read_list(reader.parse(*text), one);
        } else {
            file.read_list_of(root, one);
        }
    }
}

[[nodiscard]] load_result run(loading& l, const std::string& yaml, const std::string& name) {
    tree_reader file(l, origin{.file = name, .line = 0, .variable = {}});
    const YAML::Node root = file.parse(yaml);
    file.read_sections(root);
    apply_variables(l);
    apply_stored(l);
    read_lists(l, file, root);  // after both, since a group begins with the global sections
    add_provider_groups(l);
    check_variable_names(l);
    // Checks that look at several values would only repeat what is known to be wrong.
    if (l.problems.items.empty()) validate(l);
    if (!l.problems.items.empty()) return std::move(l.problems);
    const auto& secret_files = l.secrets.files();
    l.result.files.insert(l.result.files.end(), secret_files.begin(), secret_files.end());
    return std::move(l.result);
}

}  // namespace

void loading::report(origin where, std::string key, fault what) {
    if (problems.items.size() >= problem_list::max_problems) return;
    problems.items.push_back(
        {std::move(where), std::move(key), std::move(what.reason), std::move(what.remedy)});
}

origin loading::where(std::string_view key) const {
    const auto found = result.origins.find(key);
    return found == result.origins.end() ? origin{} : found->second;
}

void loading::set_origin(std::string key, origin from) {
    result.origins.insert_or_assign(std::move(key), std::move(from));
}

const std::string* loading::variable(std::string_view name) const {
    const auto found = env.find(name);
    return found == env.end() || found->second.empty() ? nullptr : &found->second;
}

std::string origin::to_string() const {
    if (stored) return "store";
    if (!variable.empty()) return "environment " + variable;
    if (file.empty()) return "default";
    return line > 0 ? fmt::format("{}:{}", file, line) : file;
}

std::string problem::to_string() const {
    return fmt::format("{}: {}{}{}; {}", where.to_string(), key, key.empty() ? "" : " ", reason,
                       remedy);
}

environment process_environment(const char* const* envp) {
    environment env;
    for (; envp != nullptr && *envp != nullptr; ++envp) {
        const std::string_view entry(*envp);
        if (const auto equals = entry.find('='); equals != entry.npos) {
            env.emplace(entry.substr(0, equals), entry.substr(equals + 1));
        }
    }
    return env;
}

load_result load(const std::string& file, const environment& env, const known_names& known,
                 const stored_settings& stored) {
    loading l(env, known, stored);
    std::string text;
    if (!file.empty()) {
        std::ifstream in(file, std::ios::binary);
        text.resize(max_file_bytes + 1);
        in.read(text.data(), static_cast<std::streamsize>(text.size()));
        text.resize(static_cast<std::size_t>(in.gcount()));
        if (!in.eof()) {
            l.report(origin{.file = file, .line = 0, .variable = {}}, "",
                     {in.is_open() && !text.empty() ? "is over 4 MiB" : "cannot be read",
                      "check its path and permissions"});
            return std::move(l.problems);
        }
        l.result.files.push_back(file);
    }
    return run(l, text, file);
}

load_result load_text(std::string_view yaml, const std::string& name, const environment& env,
                      const known_names& known) {
    const stored_settings none;
    loading l(env, known, none);
    return run(l, std::string(yaml), name);
}

void throw_exception_from_error(const problem_list& list, const boost::source_location&) {
    throw std::logic_error("settings of a failed load: " +
                           (list.items.empty() ? std::string() : list.items[0].to_string()));
}

}  // namespace kw::config
