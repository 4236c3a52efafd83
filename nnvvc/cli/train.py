"""`nnvvc train RECIPE.yaml`: run a training recipe."""

import argparse


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "train",
        help="train a model after a recipe",
        description="Train a model after a recipe. The recipe says what, how and where; NNVVC_DATA names the "
        "folder of the training data, NNVVC_NETS that of the task networks.",
    )
    parser.add_argument("recipe", help="a YAML file, or the name of a packaged recipe")
    parser.add_argument("--minutes", type=float, help="training time, instead of the recipe's")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--export", action="store_true", help="only export the model of the run's checkpoint")


def run(args: argparse.Namespace) -> int:
    from nnvvc.training.recipe import load_recipe
    from nnvvc.training.runner import Runner

    recipe = load_recipe(args.recipe)
    runner = Runner(recipe, minutes=args.minutes, resume=args.resume or args.export)
    if args.export:
        runner.export({})
        return 0
    scores = runner.run()
    print(" ".join(f"{k} {v:.5g}" for k, v in scores.items()), f"-> {runner.folder}")
    return 0
