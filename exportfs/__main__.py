from exportfs.cli import main

main()
